// The same expert, its policies in another order.
#include <expert/expert.hpp>

using Tiny = expert::Expert<expert::Batch<2>, expert::Packing<128>, expert::DoRA<8>, expert::ExpertTiny>;

long long plan_of_the_other_file() { return expert::TrainingPlan<Tiny>::bytes(256); }
