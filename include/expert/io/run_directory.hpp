// An output directory of training -> its checkpoints: a lock, the newest one that is whole, new ones that appear
// complete or not at all, and the removal of old ones.
//
// checkpoint-N/checkpoint.json holds size and SHA-256 of every other file, and its own. A checkpoint is written into
// .checkpoint-N.PID.tmp, every file synced and read back, then renamed, the directory synced; only then is an older one
// removed. So a kill or a power cut at any moment leaves the checkpoints that were there before.
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expert/core/error.hpp"
#include "expert/core/sort.hpp"
#include "expert/io/atomic_file.hpp"
#include "expert/io/files.hpp"
#include "expert/io/sha256.hpp"
#include "expert/json/json.hpp"
#include "expert/json/read_file.hpp"

namespace expert {
inline namespace v0 {

inline constexpr ErrorCode no_checkpoint{270, "there is no checkpoint to resume from"};
inline constexpr ErrorCode checkpoints_exist{272, "the output directory holds the checkpoints of an earlier run"};
inline constexpr ErrorCode run_directory_locked{273, "another process trains into this directory"};
inline constexpr ErrorCode checkpoint_damaged{274, "a checkpoint is damaged"};
inline constexpr ErrorCode written_differs{275, "a file reads back differently from what was written"};

// A checkpoint whose every file has the size and the hash that its record states.
struct SavedCheckpoint {
  std::string path;
  std::int64_t global_step = 0;
  Json run;  // what the caller of publish recorded about the run
  std::string file(std::string_view name) const { return path + "/" + std::string(name); }
};

namespace detail {

inline constexpr std::string_view checkpoint_prefix = "checkpoint-", checkpoint_record_name = "checkpoint.json";
inline constexpr std::int64_t checkpoint_record_bytes = std::int64_t{16} << 20;

[[noreturn]] inline void fail_unwritable(const std::string& path) {
  throw Error(file_unwritable, {.file = path, .got = system_message(errno)});
}

// Directories first the names in them, links never followed. What cannot be removed stays.
inline void remove_tree(const std::string& path) {
  std::vector<std::string> paths{path};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (::unlink(paths[i].c_str()) == 0) continue;
    struct stat status{};
    if (::lstat(paths[i].c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    try {
      for (const std::string& name : names_in(paths[i])) paths.push_back(paths[i] + "/" + name);
    } catch (const Error&) {  // a directory that cannot be listed
    }
  }
  for (auto at = paths.rbegin(); at != paths.rend(); ++at) ::rmdir(at->c_str());
}

inline void sync_directory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) fail_unwritable(path);
  const bool synced = ::fsync(directory) == 0 || errno == EINVAL;  // EINVAL: a file system that cannot
  const int error = errno;
  ::close(directory);
  errno = error;
  if (!synced) fail_unwritable(path);
}

// The step of "checkpoint-N", or -1 for any other name.
inline std::int64_t step_of(std::string_view name) {
  if (!name.starts_with(checkpoint_prefix)) return -1;
  name.remove_prefix(checkpoint_prefix.size());
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  const bool plain = error == std::errc{} && end == name.data() + name.size() && step >= 0;
  return plain && (name[0] != '0' || name.size() == 1) ? step : -1;
}

// ".checkpoint-7.1234.tmp", ".checkpoint-7.1234.old", and AtomicFile's ".metrics.csv.1234.0.tmp".
inline bool is_leftover(std::string_view name) {
  if (!name.starts_with('.') || (!name.ends_with(".tmp") && !name.ends_with(".old"))) return false;
  name.remove_suffix(4);
  const std::size_t dot = name.find_last_of('.');
  return dot > 0 && dot + 1 < name.size() && name.find_first_not_of("0123456789", dot + 1) == name.npos;
}

// Its own hash first: a record of which any byte was changed is not this text for any record.
inline std::string record_text(const Json& record) {
  const std::string body = record.dump(2);
  std::string text = "{\n\"sha256\": \"";
  return text.append(sha256(body)).append("\",\n\"record\": ").append(body).append("\n}\n");
}

}  // namespace detail

// Checks every file against the record. Throws E274, naming the file, and E200 to E202, E21x.
inline SavedCheckpoint verify_checkpoint(const std::string& path) {
  const auto damaged = [](const std::string& file, std::string expected, std::string got) {
    throw Error(checkpoint_damaged, {.file = file,
                                     .expected = std::move(expected),
                                     .got = std::move(got),
                                     .fix = "Use the checkpoint before it; remove this one"});
  };
  SavedCheckpoint checkpoint{.path = path, .run = {}};
  const std::string record_file = checkpoint.file(detail::checkpoint_record_name);
  const std::string text = read_file(record_file, detail::checkpoint_record_bytes);
  const Json json = parse_json(text, record_file, detail::checkpoint_record_bytes);
  const Json* record = json.find("record");
  if (record == nullptr || detail::record_text(*record) != text)
    damaged(record_file, "a record with its own SHA-256", "another text");
  const Json *step = record->find("global_step"), *files = record->find("files"), *run = record->find("run");
  const bool whole = step && step->is_int64() && files && files->is_object() && run && run->is_object();
  if (!whole) damaged(record_file, "global_step, files and run", "other members");
  checkpoint.global_step = step->as_int();
  checkpoint.run = *run;
  const std::string name = path.substr(path.find_last_of('/') + 1);
  if (detail::step_of(name) != checkpoint.global_step)
    damaged(path, "the directory of step " + step->dump(), expert::quoted(name));
  for (const auto& [file, entry] : files->members()) {
    const Json *bytes = entry.find("bytes"), *hash = entry.find("sha256");
    if (file.empty() || file == ".." || file.find_first_of(std::string_view("/\0", 2)) != file.npos || !bytes ||
        !bytes->is_int64() || !hash || !hash->is_string())
      damaged(record_file, "names of files with bytes and sha256", expert::quoted(file));
    const std::string full = checkpoint.file(file);
    const std::int64_t size = OpenFile(full).size();
    if (size != bytes->as_int()) damaged(full, bytes->dump() + " bytes", std::to_string(size));
    const std::string found = sha256_file(full);
    if (found != hash->as_string()) damaged(full, "SHA-256 " + expert::quoted(hash->as_string(), 64), found);
  }
  return checkpoint;
}

// One process holds it at a time.
class RunDirectory {
 public:
  // Makes the directory, takes its lock, removes what a killed run left half written. Throws E203, E273.
  explicit RunDirectory(std::string path) : path_(std::move(path)) {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
    make_directories(path_);
    lock();
    for (const std::string& name : names_in(path_))
      if (detail::is_leftover(name)) {
        detail::remove_tree(path_ + "/" + name);
        notices_.push_back("removed what a killed run left behind: " + path_ + "/" + name);
      }
  }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  ~RunDirectory() {
    if (lock_ < 0) return;
    ::unlink(lock_path().c_str());
    ::close(lock_);
  }

  const std::string& path() const { return path_; }
  std::string checkpoint_path(std::int64_t step) const {
    std::string name = path_ + "/";
    return name.append(detail::checkpoint_prefix).append(std::to_string(step));
  }
  // Sentences about what was found, for people: stale locks, leftovers, damaged checkpoints.
  const std::vector<std::string>& notices() const { return notices_; }

  // By name, ascending; not looked into.
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> steps;
    for (const std::string& name : names_in(path_))
      if (const std::int64_t step = detail::step_of(name); step >= 0) steps.push_back(step);
    sort_list(steps, [](std::int64_t a, std::int64_t b) { return a < b; });
    return steps;
  }
  // For a new run. Throws E272.
  void require_no_checkpoints() const {
    const std::vector<std::int64_t> found = steps();
    if (found.empty()) return;
    throw Error(checkpoints_exist, {.file = path_,
                                    .expected = "no checkpoints",
                                    .got = "checkpoint-" + std::to_string(found.back()),
                                    .fix = "Go on with that run (--resume), name another directory, or remove its "
                                           "checkpoints; nothing was changed"});
  }
  // Damaged ones are passed over with a notice each. Throws E270 where none is left.
  SavedCheckpoint newest_verified() {
    std::vector<std::int64_t> found = steps();
    for (auto step = found.rbegin(); step != found.rend(); ++step) {
      try {
        SavedCheckpoint checkpoint = verify_checkpoint(checkpoint_path(*step));
        verified_.push_back(*step);
        return checkpoint;
      } catch (const Error& e) {
        notices_.push_back("checkpoint-" + std::to_string(*step) + " is damaged and not used: " + e.what());
      }
    }
    throw Error(no_checkpoint,
                {.file = path_,
                 .expected = "a directory checkpoint-N that is whole",
                 .got = found.empty() ? "none" : std::to_string(found.size()) + " damaged",
                 .fix = found.empty() ? "Start without --resume" : "Start without --resume in another directory"});
  }

  // A directory for the files of a new checkpoint; removed again unless it is published.
  class NewCheckpoint {
   public:
    const std::string& path() const { return path_; }
    NewCheckpoint(const NewCheckpoint&) = delete;
    NewCheckpoint& operator=(const NewCheckpoint&) = delete;
    ~NewCheckpoint() {
      if (!published_) detail::remove_tree(path_);
    }

   private:
    friend class RunDirectory;
    NewCheckpoint(std::string path, std::int64_t step) : path_(std::move(path)), step_(step) {
      detail::remove_tree(path_);
      if (::mkdir(path_.c_str(), 0777) != 0) detail::fail_unwritable(path_);
    }
    std::string path_;
    std::int64_t step_;
    bool published_ = false;
  };
  NewCheckpoint begin(std::int64_t step) const { return NewCheckpoint(hidden_name(step, ".tmp"), step); }

  // Hashes every file as it reads back, records them, and gives the directory its name; returns its path. One of the
  // same step that is there already (a damaged one) is replaced. Throws E203, E275, E200.
  std::string publish(NewCheckpoint& checkpoint, Json run) {
    Json files = Json::object();
    for (const std::string& name : names_in(checkpoint.path_)) {
      const std::string file = checkpoint.path_ + "/" + name;
      files.set(name, Json::object().set("bytes", OpenFile(file).size()).set("sha256", sha256_file(file)));
    }
    const std::string text = detail::record_text(Json::object()
                                                     .set("format", 1)
                                                     .set("global_step", checkpoint.step_)
                                                     .set("files", std::move(files))
                                                     .set("run", std::move(run)));
    std::string record = checkpoint.path_ + "/";
    record += detail::checkpoint_record_name;
    write_file(record, text);
    if (read_file(record, detail::checkpoint_record_bytes) != text)
      throw Error(written_differs, {.file = record, .fix = "Check the disk; the checkpoints before are untouched"});
    detail::sync_directory(checkpoint.path_);
    const std::string target = checkpoint_path(checkpoint.step_), replaced = hidden_name(checkpoint.step_, ".old");
    const bool exists = ::rename(target.c_str(), replaced.c_str()) == 0;
    if (!exists && errno != ENOENT) detail::fail_unwritable(target);
    if (::rename(checkpoint.path_.c_str(), target.c_str()) != 0) detail::fail_unwritable(target);
    checkpoint.published_ = true;
    detail::sync_directory(path_);
    if (exists) detail::remove_tree(replaced);
    verified_.push_back(checkpoint.step_);
    return target;
  }

  // Keeps `best_step` and the newest ones, `total_limit` in all but never fewer than two; 0 keeps all. Checkpoints
  // that were verified or written by this object count as newer than any other, and later steps (damaged, or they
  // would have been resumed from) stay as they are.
  void remove_old(std::int64_t total_limit, std::int64_t best_step) {
    if (total_limit <= 0 || verified_.empty()) return;
    const std::int64_t newest = verified_.back();
    std::vector<std::int64_t> found = steps();
    std::erase_if(found, [&](std::int64_t step) { return step > newest; });
    const auto rank = [&](std::int64_t step) {  // kept first: the newest, the best, the verified, the later
      const bool known = std::find(verified_.begin(), verified_.end(), step) != verified_.end();
      return step == newest ? 3 : step == best_step ? 2 : known ? 1 : 0;
    };
    sort_list(found, [&](std::int64_t a, std::int64_t b) { return rank(a) != rank(b) ? rank(a) > rank(b) : a > b; });
    const auto keep = static_cast<std::size_t>(std::max<std::int64_t>(2, total_limit));
    for (std::size_t i = keep; i < found.size(); ++i) {
      const std::string doomed = hidden_name(found[i], ".old");  // a kill while it is emptied leaves no half of it
      if (::rename(checkpoint_path(found[i]).c_str(), doomed.c_str()) == 0) detail::remove_tree(doomed);
    }
  }

 private:
  std::string lock_path() const { return path_ + "/train.lock"; }
  std::string hidden_name(std::int64_t step, const char* suffix) const {
    std::string name = path_ + "/.";
    name.append(detail::checkpoint_prefix).append(std::to_string(step)).append(".");
    return name.append(std::to_string(::getpid())).append(suffix);
  }

  // The kernel holds the lock and drops it when the process ends, however it ends; the file says who it is.
  void lock() {
    for (;;) {
      lock_ = ::open(lock_path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
      if (lock_ < 0) detail::fail_unwritable(lock_path());
      char text[32] = {};
      const bool held = ::flock(lock_, LOCK_EX | LOCK_NB) != 0;
      const ssize_t length = ::pread(lock_, text, sizeof text - 1, 0);
      std::string pid(text, length > 0 ? static_cast<std::size_t>(length) : 0);
      pid.erase(std::find_if(pid.begin(), pid.end(), [](char c) { return c < '0' || c > '9'; }), pid.end());
      if (held) {
        ::close(std::exchange(lock_, -1));
        throw Error(run_directory_locked, {.file = lock_path(),
                                           .got = "process " + (pid.empty() ? "of unknown number" : pid),
                                           .fix = "Wait for it, end it, or name another directory"});
      }
      struct stat opened{}, named{};  // the holder before may have removed the name that was opened
      const bool same = ::fstat(lock_, &opened) == 0 && ::stat(lock_path().c_str(), &named) == 0 &&
                        opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
      if (!same) {
        ::close(lock_);
        continue;
      }
      if (!pid.empty()) notices_.push_back("took over the stale lock of process " + pid + ", which no longer runs");
      const std::string own = std::to_string(::getpid()) + "\n";
      if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, own.data(), own.size(), 0) != std::ssize(own)) {
        const int error = errno;
        ::close(std::exchange(lock_, -1));
        errno = error;
        detail::fail_unwritable(lock_path());
      }
      return;
    }
  }

  std::string path_;
  int lock_ = -1;
  std::vector<std::string> notices_;
  std::vector<std::int64_t> verified_;
};

}  // namespace v0
}  // namespace expert
