// SPDX-License-Identifier: Apache-2.0
#include "container/overlay.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <thread>

#include "container/sentence.h"
#include "container/user_namespace.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

/// What the kernel finds under the name of a descriptor of this process.
std::string path_of(const Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

void refuse_separators(const std::string& path) {
  if (path.find_first_of(",:\\") == std::string::npos) return;
  throw Error(Code::invalid, "overlay of " + path + ": the path has a comma, colon or backslash",
              "use a directory without these characters");
}

class Mounter {
 public:
  Mounter(const Overlay& overlay, const std::string& who) : overlay_(overlay), who_(who) {
    for (const std::string& layer : overlay.lower) refuse_separators(layer);
    refuse_separators(overlay.directory);
    if (overlay.user_namespace >= 0) open_layers();
  }

  Fd one_by_one() const {
    const Fd context(::fsopen("overlay", FSOPEN_CLOEXEC));
    check(context.get());
    const auto set = [&](const char* key, const std::string& value) {
      check(::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0));
    };
    set("source", "overlay");  // what the mount table calls it
    const std::vector<std::string> layers = names_of_layers();
    for (const std::string& layer : layers) set(layers.size() == 1 ? "lowerdir" : "lowerdir+", layer);
    set("upperdir", overlay_.directory + "/upper");
    set("workdir", overlay_.directory + "/work");
    // Not `volatile`: fsync(2) of a workload would do nothing, and a database in here look faster than it is.
    check(::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
    Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, overlay_.devices ? 0U : unsigned{MOUNT_ATTR_NODEV}));
    check(mount.get());
    return mount;
  }

  Fd at_once() {
    if (layers_.empty()) open_layers();  // for their short names
    Fd mount;
    std::exception_ptr failure;
    std::thread([&] {  // its mount namespace ends with it
      try {
        mount = in_namespace_of_a_moment();
      } catch (...) {
        failure = std::current_exception();
      }
    })
        .join();
    if (failure) std::rethrow_exception(failure);
    return mount;
  }

 private:
  void check(long result) const {
    const char* step = overlay_.user_namespace < 0 ? "mount overlay" : "mount overlay with the ids of a user namespace";
    if (result < 0) throw error_of({0, step, errno, "over " + overlay_.lower.front()}, who_);
  }

  void open_layers() {
    for (const std::string& layer : overlay_.lower) {
      Fd tree(::open_tree(AT_FDCWD, layer.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      check(tree.get());
      if (overlay_.user_namespace >= 0) map_ids(tree.get(), overlay_.user_namespace, 0, layer);
      layers_.push_back(std::move(tree));
    }
  }

  std::vector<std::string> names_of_layers() const {
    if (layers_.empty()) return overlay_.lower;
    std::vector<std::string> names;
    for (const Fd& tree : layers_) names.push_back(path_of(tree));
    return names;
  }

  // The kernel before 6.15 takes no layer that is mounted nowhere. They may lie on top of one another: each is named by its descriptor.
  // Where is all the same in a namespace that nobody sees, as long as neither the instance's directory nor /proc lies below.
  Fd in_namespace_of_a_moment() const {
    const std::string place = "/sys";
    check(::unshare(CLONE_NEWNS));
    check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    std::string options = "upperdir=" + overlay_.directory + "/upper,workdir=" + overlay_.directory + "/work,lowerdir=";
    for (const Fd& tree : layers_) {
      check(::move_mount(tree.get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH));
      if (options.back() != '=') options += ':';
      options += path_of(tree);
    }
    check(::mount("overlay", place.c_str(), "overlay", overlay_.devices ? 0 : MS_NODEV, options.c_str()));
    Fd mount(::open_tree(AT_FDCWD, place.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    check(mount.get());
    return mount;
  }

  const Overlay& overlay_;
  const std::string& who_;
  std::vector<Fd> layers_;
};

}  // namespace

Fd mount_overlay(const Overlay& overlay, const std::string& who, LayerForm form) {
  Mounter mounter(overlay, who);
  return form == LayerForm::one_by_one ? mounter.one_by_one() : mounter.at_once();
}

Fd mount_overlay(const Overlay& overlay, const std::string& who) {
  static std::atomic<bool> is_old = false;  // this kernel, as a start found out
  Mounter mounter(overlay, who);
  const bool is_plain = overlay.lower.size() == 1 && overlay.user_namespace < 0;  // every kernel can
  if (is_plain || !is_old) {
    try {
      return mounter.one_by_one();
    } catch (const Error& error) {
      if (is_plain || error.code() != Code::invalid) throw;
    }
  }
  Fd mount = mounter.at_once();
  is_old = true;
  return mount;
}

}  // namespace tare::container
