// SPDX-License-Identifier: Apache-2.0
#include "image/layers.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <deque>
#include <exception>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace tare::image {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // MAXSYMLINKS

bool is_whiteout(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0); }

/// Whether nothing of the layers below shows through. An O_PATH descriptor has no attributes but by its name.
bool is_opaque(int directory) {
  const std::string path = "/proc/self/fd/" + std::to_string(directory);
  char value = 0;
  return ::getxattr(path.c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

std::deque<std::string> components(const std::string& path) {
  std::deque<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at) parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Fd nothing(int error) {
  errno = error;
  return {};
}

}  // namespace

/// What a name is: a directory of one or more layers, a file of one, or nothing.
struct Layers::Entry {
  Directory directory;
  Fd file;
  bool is_link = false;
  int error = ENOENT;  // where it is nothing
};

Layers::Layers(const std::vector<fs::path>& roots) {
  for (const fs::path& root : roots) root_.push_back(std::make_shared<Fd>(open_file(root, O_PATH | O_DIRECTORY)));
}

Layers::Entry Layers::look(const Directory& in, const std::string& name) {
  Entry entry;
  for (const auto& layer : in) {
    Fd found(::openat(layer->get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!found) {
      if (errno == ENOENT) continue;
      entry.error = errno;
      return entry;
    }
    struct stat status {};
    if (::fstat(found.get(), &status) != 0) throw_errno("stat " + name + " of an image's layer");
    if (is_whiteout(status)) return entry;
    if (!S_ISDIR(status.st_mode)) {
      if (!entry.directory.empty()) return entry;  // hidden by the directory above it, and hides what is below
      entry.is_link = S_ISLNK(status.st_mode);
      entry.file = std::move(found);
      return entry;
    }
    const bool opaque = is_opaque(found.get());
    entry.directory.push_back(std::make_shared<Fd>(std::move(found)));
    if (opaque) return entry;
  }
  return entry;
}

Fd Layers::find(const std::string& path) const {
  if (root_.size() == 1) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return Fd(static_cast<int>(::syscall(SYS_openat2, root_[0]->get(), path.empty() ? "/" : path.c_str(), &how, sizeof how)));
  }
  if (path.size() >= PATH_MAX) return nothing(ENAMETOOLONG);
  std::deque<std::string> rest = components(path);
  std::vector<Directory> stack = {root_};
  int links = 0;
  while (!rest.empty()) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    Entry entry = look(stack.back(), name);
    if (!entry.directory.empty()) {
      stack.push_back(std::move(entry.directory));
    } else if (!entry.file) {
      return nothing(entry.error);
    } else if (!entry.is_link) {
      return rest.empty() ? std::move(entry.file) : nothing(ENOTDIR);
    } else {
      std::array<char, PATH_MAX> target{};
      const ssize_t size = ::readlinkat(entry.file.get(), "", target.data(), target.size());
      if (size < 0) throw_errno("read the link " + name + " of an image's layer");
      if (++links > kMostLinks || rest.size() > PATH_MAX) return nothing(ELOOP);
      const std::string to(target.data(), static_cast<std::size_t>(size));
      if (to.starts_with('/')) stack.resize(1);
      const std::deque<std::string> parts = components(to);
      rest.insert(rest.begin(), parts.begin(), parts.end());
    }
  }
  return Fd(::fcntl(stack.back().front()->get(), F_DUPFD_CLOEXEC, 0));
}

void with_merged(const std::vector<fs::path>& roots, const fs::path& place, const std::function<void()>& use) {
  std::exception_ptr failure;
  std::thread([&] {  // its mount namespace ends with it
    try {
      if (::unshare(CLONE_NEWNS) != 0) throw_errno("mount namespace", "run tare as root");
      if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) throw_errno("make mounts private");
      std::vector<Fd> layers;
      std::string options = "lowerdir=";
      for (const fs::path& root : roots) {  // by short names: all of them have to fit into one page
        layers.push_back(open_file(root, O_PATH | O_DIRECTORY));
        options += (layers.size() == 1 ? "" : ":") + ("/proc/self/fd/" + std::to_string(layers.back().get()));
      }
      if (::mount("overlay", place.c_str(), "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, options.c_str()) != 0) {
        throw_errno("mount the layers of an image over " + place.string(), "this kernel needs overlayfs: modprobe overlay");
      }
      use();
    } catch (...) {
      failure = std::current_exception();
    }
  })
      .join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace tare::image
