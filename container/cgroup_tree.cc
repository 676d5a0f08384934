// SPDX-License-Identifier: Apache-2.0
#include "container/cgroup_tree.h"

#include <fcntl.h>
#include <libcgroup.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

namespace fs = std::filesystem;

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

/// Our picture of the group of `id`, for libcgroup to act on. With the library locked.
Handle picture(const std::string& id, const std::set<std::string>& controllers, const std::vector<CgroupWrite>& writes) {
  const std::string name = std::string(kParentGroup) + "/" + id;
  Handle group(cgroup_new_cgroup(name.c_str()));
  if (!group) throw Error(Code::exhausted, "control group " + name + ": out of memory");
  for (const std::string& controller : controllers) cgroup_add_controller(group.get(), controller.c_str());
  for (const CgroupWrite& write : writes) {
    cgroup_controller* controller = cgroup_get_controller(group.get(), write.controller.c_str());
    check(cgroup_add_value_string(controller, write.file.c_str(), write.value.c_str()), "set " + write.file);
  }
  return group;
}

/// Whether it is there now. libcgroup would make every directory above it as well, and read the mount table for each.
bool make_directory(const fs::path& path) { return ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST; }

/// The caller looks at the effect, not at the write.
void try_write(const fs::path& file, std::string_view text) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd && ::write(fd.get(), text.data(), text.size()) < 0) return;
}

/// v1: a new group has no CPUs and no memory nodes, and neither gets any below it.
void fill_cpuset(const fs::path& group, const CgroupLayout& layout) {
  for (const auto& [file, value] : {std::pair("cpuset.cpus", layout.cpus), std::pair("cpuset.mems", layout.memory_nodes)}) {
    if (try_read_file(group / file).value_or("").find_first_not_of('\n') == std::string::npos) try_write(group / file, value);
  }
}

}  // namespace

void write_lines(const fs::path& file, const std::string& value) {
  std::istringstream lines(value + "\n");
  for (std::string line; std::getline(lines, line);) write_kernel_file(file, line + "\n");
}

CgroupTree::CgroupTree() : layout_(cgroup_layout(read_file("/proc/self/mounts"))) {
  if (layout_.v1.empty() && layout_.unified.empty()) {
    throw Error(Code::unsuited, "no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup");
  }
  if (layout_.is_hybrid()) {
    // The v2 tree freezes (kernel ≥ 5.2), and one hierarchy less is made and entered per start.
    const fs::path parent = layout_.unified / kParentGroup;
    std::error_code failed;
    fs::create_directory(parent, failed);
    if (fs::exists(parent / "cgroup.freeze")) layout_.v1.erase("freezer");
  }
  const std::lock_guard lock(library());
  check(cgroup_init(), "start libcgroup");
}

CgroupTree::~CgroupTree() {
  for (const fs::path& mount : mounts()) ::rmdir((mount / kParentGroup).c_str());  // stays when another agent uses it
}

std::set<fs::path> CgroupTree::mounts() const {
  std::set<fs::path> list = layout_.v1_mounts();
  if (!layout_.unified.empty()) list.insert(layout_.unified);
  return list;
}

CgroupLayout CgroupTree::layout_for(const Limits& limits) {
  CgroupLayout layout = layout_;
  if (!limits.io_weight) return layout;
  const std::string controller = layout.v1.contains("blkio") ? "blkio" : "io";
  if (!layout.has(controller)) return layout;
  make_parents({controller});
  const fs::path mount = controller == "io" ? layout.unified : layout.v1.at(controller);
  ::mkdir((mount / kParentGroup).c_str(), 0755);
  layout.io_weight_files = io_weight_files(mount / kParentGroup);
  return layout;
}

CgroupPaths CgroupTree::paths_of(const std::string& id, const std::set<std::string>& controllers) const {
  CgroupPaths paths;
  for (const auto& [controller, mount] : layout_.v1) {
    if (controllers.contains(controller)) paths.v1[controller] = mount / kParentGroup / id;
  }
  if (!layout_.unified.empty()) paths.unified = layout_.unified / kParentGroup / id;
  return paths;
}

CgroupPaths CgroupTree::paths_of(const std::string& id) const {
  std::set<std::string> all;
  for (const auto& [controller, mount] : layout_.v1) all.insert(controller);
  return paths_of(id, all);
}

// What the parents need before a child can have its limits.
void CgroupTree::make_parents(const std::set<std::string>& controllers) {
  const std::lock_guard lock(mutex_);
  if (!layout_.unified.empty()) {
    const fs::path parent = layout_.unified / kParentGroup;
    if (::mkdir(parent.c_str(), 0755) == 0) passed_on_.clear();  // another agent's end had removed it
    std::string enable;
    bool known = true;
    for (const std::string& controller : controllers) {
      if (!layout_.v2.contains(controller) || !layout_.on_v2(controller)) continue;
      enable += (enable.empty() ? "+" : " +") + controller;
      known = !passed_on_.insert(controller).second && known;
    }
    if (!known) {
      try_write(layout_.unified / "cgroup.subtree_control", enable);
      try_write(parent / "cgroup.subtree_control", enable);
    }
  }
  if (controllers.contains("cpuset") && layout_.v1.contains("cpuset")) {
    const fs::path parent = layout_.v1.at("cpuset") / kParentGroup;
    ::mkdir(parent.c_str(), 0755);
    fill_cpuset(parent, layout_);
  }
}

void CgroupTree::create(const std::string& id, const std::set<std::string>& controllers, const std::vector<CgroupWrite>& writes) {
  make_parents(controllers);
  for (const fs::path& group : paths_of(id, controllers).directories()) {
    if (make_directory(group)) continue;
    make_directory(group.parent_path());
    if (!make_directory(group)) throw_errno("create control group " + group.string());
  }
  if (writes.empty()) return;
  std::set<std::string> limited;
  for (const CgroupWrite& write : writes) limited.insert(write.controller);
  const std::lock_guard lock(library());
  const Handle group = picture(id, limited, writes);
  check(cgroup_modify_cgroup(group.get()), "set the limits of control group " + std::string(kParentGroup) + "/" + id);
}

void CgroupTree::set(const std::string& id, const CgroupWrite& write) {
  const std::lock_guard lock(library());
  const Handle group = picture(id, {write.controller}, {write});
  check(cgroup_modify_cgroup(group.get()), "write " + write.file);
}

void CgroupTree::remove(const std::string& id) {
  std::set<std::string> controllers = layout_.v2;
  for (const auto& [controller, mount] : layout_.v1) controllers.insert(controller);
  const std::lock_guard lock(library());
  const Handle group = picture(id, controllers, {});
  cgroup_delete_cgroup_ext(group.get(), CGFLAG_DELETE_IGNORE_MIGRATION | CGFLAG_DELETE_RECURSIVE);
}

}  // namespace tare::container
