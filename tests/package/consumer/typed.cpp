#include <expert/plan/memory.hpp>
#include <my_expert.hpp>

static_assert(expert::ExpertSql::adapter::r == 12 && expert::ExpertSql::packing::max_seq_length == 2048);

int main() { return expert::TrainingPlan<expert::ExpertSql>::max_tokens > 0 ? 0 : 1; }
