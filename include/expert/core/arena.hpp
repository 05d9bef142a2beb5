// A list of regions -> one allocation that holds them all, made once: nothing allocates while a step runs.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/config.hpp"

namespace expert {
inline namespace v0 {

struct Region {
  std::string_view name;
  std::int64_t bytes = 0;
};

inline constexpr std::int64_t arena_alignment = 64;
constexpr std::int64_t aligned(std::int64_t bytes) {
  return (bytes + arena_alignment - 1) / arena_alignment * arena_alignment;
}

namespace detail {

// Asks for pages of 2 MiB: kernels walk rows that lie kilobytes apart, and with small pages each step of that is a walk
// through the page tables too. A large page counts whole from its first byte on, so small blocks are left alone.
inline void prefer_large_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::int64_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  constexpr std::int64_t worth_it = std::int64_t{4} << 20;
  if (bytes < worth_it) return;
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE)),
             first = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (first + page - 1) / page * page,
                       end = (first + static_cast<std::uintptr_t>(bytes)) / page * page;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish: without it all is as before
#endif
}

}  // namespace detail

// One block of uninitialised memory, from the C++ heap and aligned as a region is.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::int64_t bytes)
      : data_(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(bytes), alignment))) {
    detail::prefer_large_pages(data_, bytes);
  }
  AlignedBytes(AlignedBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  AlignedBytes& operator=(AlignedBytes&&) = delete;
  ~AlignedBytes() { ::operator delete(data_, alignment); }
  std::byte* data() const noexcept { return data_; }

 private:
  static constexpr auto alignment = std::align_val_t{arena_alignment};
  std::byte* data_;
};

// Sum of the regions as the arena lays them out.
constexpr std::int64_t total_bytes(std::span<const Region> regions) {
  std::int64_t bytes = 0;
  for (const Region& region : regions) bytes += aligned(region.bytes);
  return bytes;
}

// Memory comes from mmap, so untouched regions cost nothing and what is touched reads as zero.
// `large_pages` is for what will be touched whole, `packed` for what may not be: a cache of keys for the longest text.
// `guarded` is for tests that prove the plan: every region ends at a page without access, begins after one, and is
// filled with 0xff (a NaN in f32 and bf16), so that reading before writing and writing outside both show.
class Arena {
 public:
  enum class Layout { packed, large_pages, guarded };

  explicit Arena(std::span<const Region> regions, Layout layout = Layout::packed) : layout_(layout) {
    const std::int64_t page = sysconf(_SC_PAGESIZE);
    offsets_.reserve(regions.size());
    sizes_.reserve(regions.size());
    std::int64_t at = 0;
    for (const Region& region : regions) {
      const std::int64_t size = aligned(region.bytes);
      if (layout == Layout::guarded) at = (at + size + page - 1) / page * page + page - size;
      offsets_.push_back(at);
      sizes_.push_back(region.bytes);
      at += size;
    }
    mapped_ = at + page;
    void* memory =
        mmap(nullptr, static_cast<std::size_t>(mapped_), layout == Layout::guarded ? PROT_NONE : PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(memory);
    if (layout == Layout::large_pages) detail::prefer_large_pages(memory, mapped_);
    if (layout != Layout::guarded) return;
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
      const std::int64_t first = offsets_[i] / page * page, last = offsets_[i] + aligned(sizes_[i]);
      if (sizes_[i] == 0) continue;
      mprotect(base_ + first, static_cast<std::size_t>(last - first), PROT_READ | PROT_WRITE);
      std::memset(base_ + first, 0xff, static_cast<std::size_t>(last - first));
    }
  }
  ~Arena() {
    if (base_ != nullptr) munmap(base_, static_cast<std::size_t>(mapped_));
  }
  Arena(Arena&& other) noexcept
      : layout_(other.layout_),
        base_(std::exchange(other.base_, nullptr)),
        mapped_(other.mapped_),
        offsets_(std::move(other.offsets_)),
        sizes_(std::move(other.sizes_)) {}
  Arena& operator=(Arena&&) = delete;

  template <class T>
  T* at(std::size_t region) const {
    return reinterpret_cast<T*>(base_ + offsets_[region]);
  }
  std::int64_t bytes(std::size_t region) const { return sizes_[region]; }

  // Guarded layout only: one past the last byte of the region that no longer holds the fill pattern.
  std::int64_t touched_bytes(std::size_t region) const {
    const auto* data = at<const unsigned char>(region);
    std::int64_t end = sizes_[region];
    while (end > 0 && data[end - 1] == 0xff) --end;
    return end;
  }

 private:
  Layout layout_;
  std::byte* base_ = nullptr;
  std::int64_t mapped_ = 0;
  std::vector<std::int64_t> offsets_, sizes_;
};

}  // namespace v0
}  // namespace expert
