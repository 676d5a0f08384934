// SPDX-License-Identifier: Apache-2.0
#include "container/host_group.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Kills by pidfd, so that a pid that was reused since the list was read is not hit: it is not in the group any more.
void kill_listed(const CgroupPaths& paths) {
  for (const int pid : cgroup_processes(paths)) {
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
    if (!process) continue;
    const auto now = cgroup_processes(paths);
    if (std::find(now.begin(), now.end(), pid) == now.end()) continue;
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0U);
  }
}

void try_write(const fs::path& file, std::string_view text) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd && ::write(fd.get(), text.data(), text.size()) < 0) return;  // the caller looks at the effect, not at the write
}

/// rmdir bottom-up: a workload that may write there could have made groups of its own.
bool remove_directory(const fs::path& directory) {
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return true;  // the usual case
  std::error_code failed;
  for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->is_directory(failed) && !entry->is_symlink(failed)) remove_directory(entry->path());
  }
  return ::rmdir(directory.c_str()) == 0 || errno == ENOENT;
}

}  // namespace

bool kill_group(const CgroupPaths& paths, Deadline deadline) {
  for (auto pause = 200us;; pause = std::min(pause * 2, 5000us)) {
    if (cgroup_processes(paths).empty()) return true;
    if (!paths.unified.empty()) try_write(paths.unified / "cgroup.kill", "1");
    kill_listed(paths);  // v1 only, and threads that entered only the v1 hierarchies (a VM's)
    if (const auto freezer = paths.v1.find("freezer"); freezer != paths.v1.end()) {
      try_write(freezer->second / "freezer.state", "THAWED");  // v1: a frozen task dies only when it thaws
    }
    if (deadline.passed()) return cgroup_processes(paths).empty();
    std::this_thread::sleep_for(pause);
  }
}

void remove_group(const CgroupPaths& paths) {
  const Deadline deadline = Deadline::in(2s);
  for (const fs::path& directory : paths.directories()) {
    // The last task may still be on its way out when the group already reads as empty.
    while (!remove_directory(directory)) {
      if (deadline.passed()) throw_errno("remove control group " + directory.string());
      std::this_thread::sleep_for(500us);
    }
  }
}

HostControlGroup::HostControlGroup(CgroupTree& tree, std::string id, CgroupPaths paths, Limits limits)
    : tree_(tree), id_(std::move(id)), path_(std::string(kParentGroup) + "/" + id_), limits_(std::move(limits)), paths_(std::move(paths)) {
  for (const fs::path& directory : paths_.v1_directories()) tasks_.push_back(open_file(directory / "tasks", O_WRONLY));
  if (!paths_.unified.empty()) directory_ = open_file(paths_.unified, O_RDONLY | O_DIRECTORY);
}

HostControlGroup::~HostControlGroup() {
  if (left_) return;
  try {
    kill_group(paths_, Deadline::in(5s));
    remove_group(paths_);
  } catch (const std::exception&) {  // NOLINT: a destructor; remove_leftover() says what stayed
  }
}

CgroupPaths HostControlGroup::paths() const {
  const std::lock_guard lock(mutex_);
  return paths_;
}

std::vector<int> HostControlGroup::tasks_fds() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> fds;
  for (const Fd& fd : tasks_) fds.push_back(fd.get());
  return fds;
}

bool HostControlGroup::enter_thread() {
  if (tree_.layout().is_v2()) return false;
  for (const int fd : tasks_fds()) {
    if (::write(fd, "0", 1) < 0) throw_errno("enter control group " + path_);
  }
  return true;
}

void HostControlGroup::add_process(int pid) {
  for (const fs::path& directory : paths().directories()) write_kernel_file(directory / "cgroup.procs", std::to_string(pid));
}

bool HostControlGroup::kill_all(Deadline deadline) { return kill_group(paths(), deadline); }

bool HostControlGroup::frozen() const {
  const CgroupPaths now = paths();
  const auto v1 = now.v1.find("freezer");
  if (v1 != now.v1.end()) return try_read_file(v1->second / "freezer.state").value_or("").starts_with("FROZEN");
  return keyed_number(try_read_file(now.unified / "cgroup.events").value_or(""), "frozen") == 1U;
}

void HostControlGroup::set_frozen(bool frozen) {
  const CgroupPaths paths = this->paths();
  const auto v1 = paths.v1.find("freezer");
  const bool by_v1 = v1 != paths.v1.end();
  const fs::path control = by_v1 ? v1->second / "freezer.state" : paths.unified / "cgroup.freeze";
  const fs::path events = paths.unified / "cgroup.events";
  write_kernel_file(control, by_v1 ? (frozen ? "FROZEN" : "THAWED") : (frozen ? "1" : "0"));
  const Deadline deadline = Deadline::in(5s);
  for (;; std::this_thread::sleep_for(200us)) {
    const bool now = by_v1 ? read_file(control).starts_with("FROZEN") : keyed_number(read_file(events), "frozen") == 1U;
    if (now == frozen) return;
    if (deadline.passed()) throw Error(Code::timeout, "control group " + path_ + " does not " + (frozen ? "freeze" : "thaw"));
    if (by_v1 && frozen) write_kernel_file(control, "FROZEN");  // FREEZING: a task in a fork was missed
  }
}

/// All or nothing: what was written before a refusal is taken back in reverse.
void HostControlGroup::write_all(const std::vector<CgroupWrite>& writes, const CgroupPaths& paths) {
  std::vector<std::pair<fs::path, std::string>> undo;
  for (const CgroupWrite& write : writes) {
    const auto v1 = paths.v1.find(write.controller);
    const fs::path file = (v1 == paths.v1.end() ? paths.unified : v1->second) / write.file;
    try {
      undo.emplace_back(file, undo_value(write, read_file(file)));  // before the write: of several lines some may be taken
      tree_.set(id_, write);
    } catch (const Error& error) {
      for (auto old = undo.rbegin(); old != undo.rend(); ++old) {
        try {
          write_lines(old->first, old->second);
        } catch (const Error&) {  // NOLINT: the refused file, which has its old value
        }
      }
      throw limit_refused(path_, write, error, "the limits are as they were before");
    }
  }
}

/// By pid, which waits for RCU. What forks meanwhile is found in the next round.
void HostControlGroup::move_into(const std::set<fs::path>& added) {
  const Deadline deadline = Deadline::in(5s);
  for (bool all_inside = false; !all_inside;) {
    if (deadline.passed()) throw Error(Code::timeout, "the processes of control group " + path_ + " cannot be moved under the new limits");
    all_inside = true;
    const std::vector<int> everyone = processes();
    for (const fs::path& directory : added) {
      const std::vector<int> inside = cgroup_processes({{{"", directory}}, {}});
      for (const int pid : everyone) {
        if (std::binary_search(inside.begin(), inside.end(), pid)) continue;
        try_write(directory / "cgroup.procs", std::to_string(pid));
        all_inside = false;
      }
    }
  }
}

/// Every new task enters there from now on, and those that are here move.
void HostControlGroup::join(const CgroupPaths& wider, const std::set<fs::path>& added) {
  std::vector<Fd> tasks;
  for (const fs::path& directory : added) tasks.push_back(open_file(directory / "tasks", O_WRONLY));
  {
    const std::lock_guard lock(mutex_);
    paths_ = wider;
    std::move(tasks.begin(), tasks.end(), std::back_inserter(tasks_));
  }
  move_into(added);
}

void HostControlGroup::update(const Limits& change) {
  const std::lock_guard lock(updating_);
  const Limits given = resolve_devices(change);
  const auto writes = cgroup_update_writes(limits_, given, tree_.layout_for(given));
  const CgroupPaths before = paths();
  std::set<std::string> controllers;
  for (const auto& [controller, directory] : before.v1) controllers.insert(controller);
  for (const CgroupWrite& write : writes) controllers.insert(write.controller);
  const CgroupPaths wider = tree_.paths_of(id_, controllers);
  std::set<fs::path> added = wider.v1_directories();
  for (const fs::path& old : before.v1_directories()) added.erase(old);
  try {
    if (!writes.empty()) tree_.create(id_, controllers, {});  // v2: the parents pass the controllers on
    write_all(writes, wider);
  } catch (const Error&) {
    for (const fs::path& directory : added) remove_directory(directory);
    throw;
  }
  join(wider, added);
  limits_ = merged(std::move(limits_), given);
}

}  // namespace tare::container
