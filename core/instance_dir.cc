// SPDX-License-Identifier: Apache-2.0
#include "core/instance_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace fs = std::filesystem;
namespace {

std::string ourselves() { return process_identity(::getpid()).value_or(""); }

// Before an id, while the directory has no owner file yet: ".new-<process identity>-<id>". Its maker may be killed at any moment.
constexpr std::string_view kUnfinished = ".new-";

/// "<process identity>" that its name or its owner file says.
std::string owner_of(const fs::path& directory) {
  const std::string name = directory.filename();
  if (name.starts_with(kUnfinished)) return name.substr(kUnfinished.size(), name.find('-', kUnfinished.size()) - kUnfinished.size());
  const std::string owner = try_read_file(directory / "owner").value_or("");
  return owner.substr(0, owner.find('\n'));
}

}  // namespace

InstanceDir::InstanceDir(const Paths& paths, const std::string& instance_id) : path_(paths.instances() / instance_id) {
  std::error_code error;
  fs::create_directories(paths.instances(), error);
  // Nobody may see it without its owner: a sweep would take it for a dead agent's.
  const std::string owner = ourselves();
  const fs::path unfinished = paths.instances() / (std::string(kUnfinished) + owner + "-" + instance_id);
  if (error || !fs::create_directory(unfinished, error)) {
    const int number = error ? error.value() : EEXIST;
    throw Error(code_of_errno(number), errno_text("make directory " + path_.string(), number));
  }
  try {
    const Fd fd = open_file(unfinished / "owner", O_WRONLY | O_CREAT | O_EXCL);
    write_all(fd.get(), owner + "\n", (unfinished / "owner").string());
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
  write_beside(paths.instances() / instance_id, "owner", ourselves() + "\n");
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
    if (!is_alive(owner_of(entry.path()))) ids.push_back(entry.path().filename().string());
  }
  return ids;
}

}  // namespace tare
