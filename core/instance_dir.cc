// SPDX-License-Identifier: Apache-2.0
#include "core/instance_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace fs = std::filesystem;
namespace {

std::string ourselves() { return process_identity(::getpid()).value_or("") + "\n"; }

constexpr std::string_view kUnfinished = ".new-";  // before an id, while the directory has no owner yet

/// Its maker may be at work: it takes microseconds.
bool is_young(const fs::path& path) {
  std::error_code gone;
  const auto changed = fs::last_write_time(path, gone);
  return gone || fs::file_time_type::clock::now() - changed < std::chrono::minutes(1);
}

}  // namespace

InstanceDir::InstanceDir(const Paths& paths, const std::string& instance_id) : path_(paths.instances() / instance_id) {
  std::error_code error;
  fs::create_directories(paths.instances(), error);
  // Nobody may see it without its owner: a sweep would take it for a dead agent's.
  const fs::path unfinished = paths.instances() / (std::string(kUnfinished) + instance_id);
  if (error || !fs::create_directory(unfinished, error)) {
    const int number = error ? error.value() : EEXIST;
    throw Error(code_of_errno(number), errno_text("make directory " + path_.string(), number));
  }
  try {
    const Fd fd = open_file(unfinished / "owner", O_WRONLY | O_CREAT | O_EXCL);
    write_all(fd.get(), ourselves(), (unfinished / "owner").string());
    if (::renameat2(AT_FDCWD, unfinished.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0) {
      throw_errno("make directory " + path_.string());
    }
  } catch (const Error&) {
    fs::remove_all(unfinished, error);
    throw;
  }
}

InstanceDir::~InstanceDir() {
  try {
    remove();
  } catch (const Error&) {  // recovery finds it by its owner file
  }
}

void InstanceDir::remove() {
  if (path_.empty()) return;
  remove_tree(path_);
  path_.clear();
}

InstanceDir InstanceDir::adopt(const Paths& paths, const std::string& instance_id) {
  InstanceDir directory;
  write_beside(paths.instances() / instance_id, "owner", ourselves());
  directory.path_ = paths.instances() / instance_id;
  return directory;
}

void InstanceDir::write(const std::string& file, std::string_view content) const { write_beside(path_, file, content); }

void write_beside(const fs::path& directory, const std::string& file, std::string_view content) {
  const fs::path unfinished = directory / ("." + file + ".new");
  const Fd fd = open_file(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  write_all(fd.get(), content, unfinished.string());
  if (::rename(unfinished.c_str(), (directory / file).c_str()) != 0) throw_errno("write " + (directory / file).string());
}

std::vector<std::string> orphaned_instances(const Paths& paths) {
  std::vector<std::string> ids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(paths.instances(), error)) {
    if (entry.path().filename().string().starts_with(kUnfinished) && is_young(entry.path())) continue;
    const std::string owner = try_read_file(entry.path() / "owner").value_or("");
    if (!is_alive(std::string_view(owner).substr(0, owner.find('\n')))) ids.push_back(entry.path().filename().string());
  }
  return ids;
}

}  // namespace tare
