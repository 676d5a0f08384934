// SPDX-License-Identifier: Apache-2.0
#include "core/id_range.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <system_error>

#include "core/error.h"
#include "core/files.h"

namespace tare {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kRanges = (kEndOfRanges - kFirstRange) / kIdsEach;

/// Only under the lock of the claims: otherwise the link that is void at one look can be somebody's new claim at the next.
bool is_void(const fs::path& link) {
  struct stat status {};
  return ::stat(link.c_str(), &status) != 0 && errno == ENOENT && ::lstat(link.c_str(), &status) == 0;
}

FileLock lock_of(const fs::path& claims) { return FileLock::wait(claims / "lock"); }

}  // namespace

IdRange IdRange::claim(const fs::path& claims, const fs::path& instance) {
  if (::mkdir(claims.c_str(), 0755) != 0 && errno != EEXIST) throw_errno("make " + claims.string());
  const FileLock lock = lock_of(claims);
  // Not the lowest free one: ids that were in use a moment ago may still own files somewhere.
  const auto start = static_cast<std::uint32_t>(std::hash<std::string>{}(instance.filename().string()) % kRanges);
  for (std::uint32_t i = 0; i < kRanges; ++i) {
    const std::uint32_t first = kFirstRange + (start + i) % kRanges * kIdsEach;
    const fs::path link = claims / std::to_string(first);
    if (is_void(link)) ::unlink(link.c_str());
    if (::symlink(instance.c_str(), link.c_str()) == 0) return {link, first};
    if (errno != EEXIST) throw_errno("make " + link.string());
  }
  throw Error(Code::unavailable, "all " + std::to_string(kRanges) + " ranges of ids for user namespaces are taken",
              "end some instances that have `userns: auto`, or remove links from " + claims.string() + " whose instance you know is gone");
}

IdRange IdRange::adopt(const fs::path& claims, std::uint32_t first) { return {claims / std::to_string(first), first}; }

void IdRange::tidy(const fs::path& claims) {
  std::error_code missing;
  if (!fs::is_directory(claims, missing)) return;
  const FileLock lock = lock_of(claims);
  for (fs::directory_iterator entry(claims, missing), end; !missing && entry != end; entry.increment(missing)) {
    if (is_void(entry->path())) ::unlink(entry->path().c_str());
  }
}

IdRange::~IdRange() {
  if (!link_.empty()) ::unlink(link_.c_str());
}

}  // namespace tare
