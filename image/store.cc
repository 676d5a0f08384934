// SPDX-License-Identifier: Apache-2.0
#include "image/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <sstream>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "image/builtin.h"
#include "image/digest.h"
#include "image/layers.h"

namespace tare::image {
namespace {

constexpr std::string_view kBuiltin = "tare/probe";
constexpr std::string_view kDirectory = "dir:";
constexpr std::size_t kMostLayers = 200;  // overlayfs takes 500, and a page of their names
constexpr std::string_view kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directory of a digest is named by the digits alone: overlayfs separates lower directories by ':'.
std::filesystem::path home_of(const Paths& paths, const std::string& digest) {
  return paths.images() / digest.substr(digest.find(':') + 1);
}

FileLock lock_images(const Paths& paths) {
  std::error_code failure;
  std::filesystem::create_directories(paths.images(), failure);
  if (failure) throw Error(code_of_errno(failure.value()), errno_text("mkdir " + paths.images().string(), failure.value()));
  return FileLock::wait(paths.images() / "lock");
}

/// Under the lock nobody else is writing, so whatever is unfinished was left by a crash.
void remove_unfinished(const Paths& paths) {
  for (const auto& entry : std::filesystem::directory_iterator(paths.images())) {
    if (entry.path().filename().string().starts_with("tare-")) remove_tree(entry.path());
  }
}

void rename_into_place(const std::filesystem::path& from, const std::filesystem::path& to) {
  // Content first, name second: after a power cut the name stands for whole content or is not there.
  const Fd fd = open_file(from, O_RDONLY);
  if (::syncfs(fd.get()) != 0) throw_errno("sync " + from.string());
  if (::rename(from.c_str(), to.c_str()) != 0) throw_errno("rename " + from.string() + " to " + to.string());
}

std::filesystem::path checked_layer(const std::filesystem::path& path, const std::string& reference) {
  if (!path.is_absolute()) {
    throw Error(Code::invalid, "image '" + reference + "' is no absolute path",
                "write it as dir:/srv/rootfs, or dir:/upper:/lower for several layers");
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error(code_of_errno(errno), "image '" + reference + "': " + errno_text("open " + path.string()),
                "make the directory, or use the built-in image tare/probe");
  }
  if (!S_ISDIR(status.st_mode))
    throw Error(Code::invalid, "image '" + reference + "' is no directory", "name a directory with a root filesystem");
  return path;
}

std::string digest_of_layers(const std::vector<std::filesystem::path>& layers) {
  if (layers.size() == 1) return tree_digest(layers[0]);
  Digest digest;
  for (const std::filesystem::path& layer : layers) digest.add(tree_digest(layer));
  return digest.text();
}

std::string read_probe(const std::filesystem::path& path) {
  try {
    return read_file(path);
  } catch (const Error& error) {
    throw Error(Code::unavailable, "the program of image tare/probe cannot be read: " + error.sentence(), "build it with ./dev build");
  }
}

}  // namespace

/// What was found out before: the digest of a program file that has not changed since it was read, and which EROFS image a reference
/// means, so that a start costs one stat(2).
struct Store::Known {
  struct Program {
    struct timespec modified {};
    struct timespec changed {};
    off_t size = 0;
    ino_t inode = 0;
    std::string digest;
  };
  std::mutex mutex;
  Program program;
  std::map<std::string, std::filesystem::path> erofs;  // by reference

  static bool same(const Program& program, const struct stat& status) {
    const auto equal = [](const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; };
    return !program.digest.empty() && program.inode == status.st_ino && program.size == status.st_size &&
           equal(program.modified, status.st_mtim) && equal(program.changed, status.st_ctim);
  }
};

Store::Store(Paths paths) : paths_(std::move(paths)), known_(std::make_shared<Known>()) {}

Image Store::resolve(const std::string& reference) const {
  if (reference == kBuiltin) return resolve_builtin();
  if (reference.starts_with(kDirectory)) return resolve_directory(reference);
  throw Error(Code::not_found, "there is no image '" + reference + "' on this host",
              "there is tare/probe, and every directory with a root filesystem as dir:/its/path");
}

Image Store::resolve_builtin() const {
  const std::filesystem::path program = paths_.libexec / "probe";
  Image image;
  image.reference = kBuiltin;
  image.command = {"probe", "noop"};
  image.environment = {std::string(kPath)};

  const std::lock_guard guard(known_->mutex);
  struct stat status {};
  const bool there = ::stat(program.c_str(), &status) == 0;
  std::error_code ignored;
  if (there && Known::same(known_->program, status)) {
    image.digest = known_->program.digest;
    image.layers = {home_of(paths_, image.digest) / "rootfs"};
    if (std::filesystem::is_directory(image.layers[0], ignored)) return image;
  }
  const std::vector<BuiltinEntry> entries = builtin_entries(read_probe(program));
  image.digest = builtin_digest(entries);
  const std::filesystem::path home = home_of(paths_, image.digest);
  const std::filesystem::path rootfs = home / "rootfs";
  image.layers = {rootfs};

  const FileLock lock = lock_images(paths_);
  if (!std::filesystem::is_directory(rootfs, ignored)) {
    remove_unfinished(paths_);
    const TempDir temporary(paths_.images());
    write_builtin(entries, temporary.path() / "rootfs");
    std::filesystem::create_directories(home);
    rename_into_place(temporary.path() / "rootfs", rootfs);
  }
  if (there) known_->program = {status.st_mtim, status.st_ctim, status.st_size, status.st_ino, image.digest};
  return image;
}

Image Store::resolve_directory(const std::string& reference) const {
  Image image;
  image.reference = reference;
  std::istringstream list(reference.substr(kDirectory.size()));
  for (std::string layer; std::getline(list, layer, ':');) image.layers.push_back(checked_layer(layer, reference));
  if (image.layers.empty()) image.layers.push_back(checked_layer("", reference));
  if (image.layers.size() > kMostLayers) {
    throw Error(Code::invalid, "image '" + reference.substr(0, 60) + "…' has " + std::to_string(image.layers.size()) + " layers",
                "the kernel stacks at most " + std::to_string(kMostLayers));
  }
  image.command = {"/bin/sh"};
  image.environment = {std::string(kPath)};
  return image;
}

std::filesystem::path Store::erofs(const Image& image) const {
  {
    const std::lock_guard guard(known_->mutex);
    const auto found = known_->erofs.find(image.reference);
    if (found != known_->erofs.end() && ::access(found->second.c_str(), R_OK) == 0) return found->second;
  }
  return make_erofs(image);
}

std::filesystem::path Store::make_erofs(const Image& image) const {
  const std::filesystem::path made = erofs_of(image.digest.empty() ? digest_of_layers(image.layers) : image.digest, image);
  const std::lock_guard guard(known_->mutex);
  known_->erofs[image.reference] = made;
  return made;
}

std::filesystem::path Store::erofs_of(const std::string& digest, const Image& image) const {
  // The parameters are part of the file: with the time, the identifier and the order fixed, the same tree gives the same bytes.
  // Not compressed: a guest reads it through its page cache, and unpacking would cost CPU time that metal and container do not pay.
  constexpr std::string_view kIdentifier = "7461726e-6574-4d61-8e67-726f73736e65";
  const std::filesystem::path home = home_of(paths_, digest);
  const std::filesystem::path made = home / "rootfs.erofs";
  if (::access(made.c_str(), R_OK) == 0) return made;
  if (!find_program("mkfs.erofs")) throw Error(Code::unavailable, "mkfs.erofs is missing", "apt-get install erofs-utils");

  const FileLock lock = lock_images(paths_);
  if (::access(made.c_str(), R_OK) == 0) return made;
  remove_unfinished(paths_);
  const TempDir temporary(paths_.images());
  const std::filesystem::path file = temporary.path() / "rootfs.erofs";
  const auto make = [&](const std::filesystem::path& tree) {
    check_tool({"mkfs.erofs", "--quiet", "-T0", "-U", std::string(kIdentifier), file.string(), tree.string()},
               Deadline::in(std::chrono::minutes(10)));
  };
  if (image.layers.size() == 1) {
    make(image.layers[0]);
  } else {
    const std::filesystem::path merged = temporary.path() / "merged";
    std::filesystem::create_directory(merged);
    with_merged(image.layers, merged, [&] { make(merged); });
  }
  std::filesystem::create_directories(home);
  rename_into_place(file, made);
  return made;
}

}  // namespace tare::image
