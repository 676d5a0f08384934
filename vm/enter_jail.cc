// SPDX-License-Identifier: Apache-2.0
#include "vm/enter_jail.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace tare::vm {
namespace {

constexpr unsigned kSealed = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

// What failed, for one line on stderr; errno says why.
struct Failure {
  std::string step;
};

void require(bool success, const std::string& step) {
  if (!success) throw Failure{step};
}

// The directories above `path`, which is below `root`.
void make_parents(const std::string& root, const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = root + path.substr(0, at);
    require(::mkdir(parent.c_str(), 0755) == 0 || errno == EEXIST, "make " + parent);
  }
}

void bind(const std::string& root, const std::string& path, unsigned attributes) {
  const int tree = open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  require(tree >= 0, "open " + path);
  mount_attr wanted{};
  wanted.attr_set = attributes;
  require(mount_setattr(tree, "", AT_EMPTY_PATH, &wanted, sizeof wanted) == 0, "seal " + path);
  struct stat status {};
  require(::fstat(tree, &status) == 0, "look at " + path);
  make_parents(root, path);
  const std::string target = root + path;
  if (S_ISDIR(status.st_mode)) {
    require(::mkdir(target.c_str(), 0755) == 0 || errno == EEXIST, "make " + target);
  } else {
    const int file = ::open(target.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    require(file >= 0, "make " + target);
    ::close(file);
  }
  require(move_mount(tree, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0, "attach " + path);
  ::close(tree);
}

void make_device(const std::string& root, const std::string& path, uid_t user) {
  struct stat status {};
  require(::stat(path.c_str(), &status) == 0, "look at " + path);
  make_parents(root, path);
  const std::string target = root + path;
  require(::mknod(target.c_str(), (status.st_mode & S_IFMT) | 0600, status.st_rdev) == 0, "make " + target);
  require(::chown(target.c_str(), user, user) == 0, "give away " + target);
}

// Of the host's root, what every QEMU needs: its libraries, its firmware, and where they were when /usr was not all.
void add_system(const std::string& root, uid_t user) {
  bind(root, "/usr", MOUNT_ATTR_RDONLY | kSealed);
  for (const char* path : {"/lib", "/lib64"}) {
    char target[256];
    const ssize_t length = ::readlink(path, target, sizeof target - 1);
    if (length > 0) {
      target[length] = '\0';
      require(::symlink(target, (root + path).c_str()) == 0, "make " + root + path);
    } else if (::access(path, F_OK) == 0) {
      bind(root, path, MOUNT_ATTR_RDONLY | kSealed);
    }
  }
  if (::access("/etc/ld.so.cache", F_OK) == 0) bind(root, "/etc/ld.so.cache", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | kSealed);
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) make_device(root, path, user);
}

// {"qom-type":"secret","id":"masterKey0","format":"raw","file":"PATH"}: of each machine, and root's alone. A copy for this one.
void add_key(const std::string& root, char** argv, uid_t user) {
  constexpr const char* kBegin = "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":\"";
  for (; *argv != nullptr; ++argv) {
    if (std::strncmp(*argv, kBegin, std::strlen(kBegin)) != 0) continue;
    std::string path = *argv + std::strlen(kBegin);
    path.resize(std::min(path.size(), path.find('"')));
    char key[256];
    const int from = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t length = from < 0 ? -1 : ::read(from, key, sizeof key);
    require(length > 0, "read " + path);
    ::close(from);
    make_parents(root, path);
    const int to = ::open((root + path).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0400);
    require(to >= 0 && ::write(to, key, static_cast<std::size_t>(length)) == length && ::fchown(to, user, user) == 0, "copy " + path);
    ::close(to);
  }
}

void add(const std::string& root, const char* entry, uid_t user) {
  const std::string path = entry + 1;
  switch (*entry) {
    case 'r': return bind(root, path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | kSealed);
    case 'w': return bind(root, path, MOUNT_ATTR_NOEXEC | kSealed);
    case 'd': return make_device(root, path, user);
    default: errno = EINVAL; throw Failure{std::string("understand ") + entry};
  }
}

void leave_host(const std::string& root) {
  require(::chdir(root.c_str()) == 0, "enter " + root);
  require(::syscall(SYS_pivot_root, ".", ".") == 0, "make " + root + " the root");
  require(::umount2(".", MNT_DETACH) == 0, "leave the host's root");
  require(::chdir("/") == 0, "enter the new root");
  mount_attr wanted{};
  wanted.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  require(mount_setattr(AT_FDCWD, "/", 0, &wanted, sizeof wanted) == 0, "seal the new root");
}

void become(uid_t user) {
  const rlimit none{0, 0};
  require(::setrlimit(RLIMIT_CORE, &none) == 0, "forbid core files");  // the guest's memory
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    require(::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, "drop capabilities");
  }
  require(::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 && ::setresuid(user, user, user) == 0, "change the user");
  require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "give up new privileges");
}

void enter(char* text, char** argv) {
  const char* number = strsep(&text, ":");
  const auto user = static_cast<uid_t>(std::strtoul(number, nullptr, 10));
  const char* stage = strsep(&text, ":");
  errno = EINVAL;
  require(user != 0 && stage != nullptr, "understand TARE_JAIL");
  const std::string root = stage;
  require(::unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS) == 0, "make namespaces");
  require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "make mounts private");
  require(::mount("tare", stage, "tmpfs", MS_NOSUID, "mode=0755,size=1m") == 0, "mount a tmpfs on " + root);
  ::umask(0);
  add_system(root, user);
  while (const char* entry = strsep(&text, ":")) add(root, entry, user);
  add_key(root, argv, user);
  ::umask(022);
  leave_host(root);
  become(user);
}

}  // namespace

bool enter_jail(const char* program, char** argv) {
  char* text = std::getenv("TARE_JAIL");
  if (text == nullptr) return true;
  try {
    enter(text, argv);
  } catch (const Failure& failure) {
    std::fprintf(stderr, "%s: %s: %s\n", program, failure.step.c_str(), std::strerror(errno));
    return false;
  }
  ::unsetenv("TARE_JAIL");
  return true;
}

}  // namespace tare::vm
