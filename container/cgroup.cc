// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup.h"

#include <fcntl.h>
#include <libcgroup.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>

#include "container/cgroup_plan.h"
#include "container/cgroup_usage.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* kParent = "tare";

/// libcgroup keeps its mount table and its last error in globals.
std::mutex& library() {
  static std::mutex mutex;
  return mutex;
}

void check(int result, const std::string& action) {
  if (result == 0) return;
  const int number = cgroup_get_last_errno();
  if (result == ECGOTHER && number != 0) throw Error(code_of_errno(number), errno_text(action, number));
  throw Error(Code::failed, action + ": " + cgroup_strerror(result));
}

struct FreeCgroup {
  void operator()(cgroup* group) const noexcept { cgroup_free(&group); }
};
using Handle = std::unique_ptr<cgroup, FreeCgroup>;

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

std::vector<fs::path> directories(const CgroupPaths& paths) {
  std::set<fs::path> list;
  if (!paths.unified.empty()) list.insert(paths.unified);
  for (const auto& [controller, directory] : paths.v1) list.insert(directory);
  return {list.begin(), list.end()};
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

/// What libcgroup left, by census. Throws naming what stayed.
void remove_rest(const CgroupPaths& paths) {
  const Deadline deadline = Deadline::in(2s);
  for (const fs::path& directory : directories(paths)) {
    // The last task may still be on its way out when the group already reads as empty.
    while (!remove_directory(directory)) {
      if (deadline.passed()) throw_errno("remove control group " + directory.string());
      std::this_thread::sleep_for(500us);
    }
  }
}

/// "tare/<id>" in each hierarchy.
class HostControlGroup final : public ControlGroup {
 public:
  HostControlGroup(const CgroupLayout& layout, const std::string& id, CgroupPaths paths)
      : layout_(layout), path_(std::string(kParent) + "/" + id), paths_(std::move(paths)) {
    for (const fs::path& mount : layout.v1_mounts()) {
      tasks_.push_back(open_file(mount / path_ / "tasks", O_WRONLY));
    }
    if (!paths_.unified.empty()) directory_ = open_file(paths_.unified, O_RDONLY | O_DIRECTORY);
  }
  ~HostControlGroup() override {
    try {
      kill_group(paths_, Deadline::in(5s));
      remove_rest(paths_);
    } catch (const std::exception&) {  // NOLINT: a destructor; remove_leftover() says what stayed
    }
  }

  const std::string& path() const override { return path_; }
  std::vector<int> tasks_fds() const override {
    std::vector<int> fds;
    for (const Fd& fd : tasks_) fds.push_back(fd.get());
    return fds;
  }
  int directory_fd() const override { return directory_.get(); }
  bool enter_thread() override {
    if (layout_.is_v2()) return false;
    for (const Fd& fd : tasks_) {
      if (::write(fd.get(), "0", 1) < 0) throw_errno("enter control group " + path_);
    }
    return true;
  }
  void add_process(int pid) override {
    for (const fs::path& directory : directories(paths_)) write_kernel_file(directory / "cgroup.procs", std::to_string(pid));
  }
  std::vector<int> processes() const override { return cgroup_processes(paths_); }
  Usage usage() const override { return cgroup_usage(paths_); }
  void freeze() override { set_frozen(true); }
  void thaw() override { set_frozen(false); }
  bool kill_all(Deadline deadline) override { return kill_group(paths_, deadline); }

 private:
  void set_frozen(bool frozen) {
    const auto v1 = paths_.v1.find("freezer");
    const bool by_v1 = v1 != paths_.v1.end();
    const fs::path control = by_v1 ? v1->second / "freezer.state" : paths_.unified / "cgroup.freeze";
    const fs::path events = paths_.unified / "cgroup.events";
    write_kernel_file(control, by_v1 ? (frozen ? "FROZEN" : "THAWED") : (frozen ? "1" : "0"));
    const Deadline deadline = Deadline::in(5s);
    for (;; std::this_thread::sleep_for(200us)) {
      const bool now = by_v1 ? read_file(control).starts_with("FROZEN") : keyed_number(read_file(events), "frozen") == 1U;
      if (now == frozen) return;
      if (deadline.passed()) throw Error(Code::timeout, "control group " + path_ + " does not " + (frozen ? "freeze" : "thaw"));
      if (by_v1 && frozen) write_kernel_file(control, "FROZEN");  // FREEZING: a task in a fork was missed
    }
  }

  const CgroupLayout& layout_;  // of HostControlGroups, which outlives us
  std::string path_;
  CgroupPaths paths_;
  std::vector<Fd> tasks_;
  Fd directory_;
};

class HostControlGroups final : public ControlGroups {
 public:
  HostControlGroups() : layout_(cgroup_layout(read_file("/proc/self/mounts"))) {
    if (layout_.v1.empty() && layout_.unified.empty()) {
      throw Error(Code::unsuited, "no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup");
    }
    // On hybrid the v2 tree freezes (kernel ≥ 5.2), and one hierarchy less is made and entered per start.
    if (layout_.is_hybrid() && can_freeze_by_v2()) layout_.v1.erase("freezer");
    const std::lock_guard lock(library());
    check(cgroup_init(), "start libcgroup");
  }
  ~HostControlGroups() override {
    for (const fs::path& mount : mounts()) ::rmdir((mount / kParent).c_str());  // stays when another agent uses it
  }

  std::string layout() const override { return layout_.text(); }

  std::unique_ptr<ControlGroup> create(const std::string& id, const Limits& limits) override {
    const auto writes = cgroup_writes(limits, layout_);
    const CgroupPaths paths = paths_of(id);
    try {
      make(id, writes, paths);
      return std::make_unique<HostControlGroup>(layout_, id, paths);
    } catch (const Error&) {
      remove_rest(paths);
      throw;
    }
  }

  std::vector<std::string> ids() const override {
    std::set<std::string> found;
    for (const fs::path& mount : mounts()) {
      std::error_code missing;
      for (fs::directory_iterator entry(mount / kParent, missing), end; !missing && entry != end; entry.increment(missing)) {
        if (entry->is_directory(missing)) found.insert(entry->path().filename());
      }
    }
    return {found.begin(), found.end()};
  }

  void remove_leftover(const std::string& id) override {
    const CgroupPaths paths = paths_of(id);
    if (!kill_group(paths, Deadline::in(10s))) {
      throw Error(Code::timeout, "processes in control group tare/" + id + " do not die",
                  "look at their state with: ps -o pid,stat,wchan,args");
    }
    delete_by_library(id);
    remove_rest(paths);
  }

 private:
  std::set<fs::path> mounts() const {
    std::set<fs::path> list = layout_.v1_mounts();
    if (!layout_.unified.empty()) list.insert(layout_.unified);
    return list;
  }

  CgroupPaths paths_of(const std::string& id) const {
    CgroupPaths paths;
    for (const auto& [controller, mount] : layout_.v1) paths.v1[controller] = mount / kParent / id;
    if (!layout_.unified.empty()) paths.unified = layout_.unified / kParent / id;
    return paths;
  }

  bool can_freeze_by_v2() const {
    const fs::path parent = layout_.unified / kParent;
    std::error_code failed;
    fs::create_directory(parent, failed);
    return fs::exists(parent / "cgroup.freeze");
  }

  void add_controllers(cgroup* group) const {
    if (layout_.is_v2()) {
      for (const std::string& controller : layout_.v2) cgroup_add_controller(group, controller.c_str());
    } else {
      for (const auto& [controller, mount] : layout_.v1) cgroup_add_controller(group, controller.c_str());
    }
  }

  void make(const std::string& id, const std::vector<CgroupWrite>& writes, const CgroupPaths& paths) const {
    if (!paths.unified.empty()) make_unified(paths.unified);
    const std::string name = std::string(kParent) + "/" + id;
    const std::lock_guard lock(library());
    const Handle group(cgroup_new_cgroup(name.c_str()));
    if (!group) throw Error(Code::exhausted, "control group " + name + ": out of memory");
    add_controllers(group.get());
    for (const CgroupWrite& write : writes) {
      cgroup_controller* controller = cgroup_get_controller(group.get(), write.controller.c_str());
      check(cgroup_add_value_string(controller, write.file.c_str(), write.value.c_str()), "set " + write.file);
    }
    check(cgroup_create_cgroup(group.get(), 1), "create control group " + name);
  }

  /// The v2 directory. libcgroup makes none in a tree without controllers (hybrid), and on v2 the parents must pass controllers on.
  void make_unified(const fs::path& group) const {
    std::string enable;
    for (const std::string& controller : layout_.v2) enable += (enable.empty() ? "+" : " +") + controller;
    std::error_code failed;
    fs::create_directory(group.parent_path(), failed);
    if (layout_.is_v2() && !enable.empty()) {
      try_write(layout_.unified / "cgroup.subtree_control", enable);
      try_write(group.parent_path() / "cgroup.subtree_control", enable);
    }
    fs::create_directory(group, failed);
    if (failed) throw Error(code_of_errno(failed.value()), "create control group " + group.string() + ": " + failed.message());
  }

  void delete_by_library(const std::string& id) const {
    const std::lock_guard lock(library());
    const Handle group(cgroup_new_cgroup((std::string(kParent) + "/" + id).c_str()));
    if (!group) return;
    add_controllers(group.get());
    cgroup_delete_cgroup_ext(group.get(), CGFLAG_DELETE_IGNORE_MIGRATION | CGFLAG_DELETE_RECURSIVE);  // remove_rest() checks the effect
  }

  CgroupLayout layout_;
};

}  // namespace

std::unique_ptr<ControlGroups> make_control_groups() { return std::make_unique<HostControlGroups>(); }

}  // namespace tare::container
