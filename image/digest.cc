// SPDX-License-Identifier: Apache-2.0
#include "image/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <vector>

#include "core/bytes.h"
#include "core/error.h"
#include "core/fd.h"
#include "core/files.h"

namespace tare::image {

struct Digest::Context {
  struct Free {
    void operator()(EVP_MD_CTX* c) const noexcept { EVP_MD_CTX_free(c); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> evp{EVP_MD_CTX_new()};
};

Digest::Digest() : context_(std::make_unique<Context>()) {
  if (EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr) != 1) throw Error(Code::internal, "SHA-256 is not available");
}
Digest::~Digest() = default;

void Digest::add(std::uint64_t number) {
  std::array<unsigned char, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(number >> (8 * i));
  EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size());
}

void Digest::add(std::string_view field) {
  add(static_cast<std::uint64_t>(field.size()));
  EVP_DigestUpdate(context_->evp.get(), field.data(), field.size());
}

std::string Digest::text() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context_->evp.get(), bytes.data(), &size);
  return "sha256:" + hex_of({reinterpret_cast<const char*>(bytes.data()), size});
}

namespace {

struct CloseDirectory {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::vector<std::string> sorted_names(int fd, const std::string& path) {
  Fd copy(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Directory directory(copy ? ::fdopendir(copy.get()) : nullptr);
  if (!directory) throw_errno("read directory " + path);
  copy.release();  // closedir closes it
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw_errno("read directory " + path);
  std::sort(names.begin(), names.end());
  return names;
}

class TreeWalk {
 public:
  explicit TreeWalk(const std::filesystem::path& root) : root_(open_file(root, O_RDONLY | O_DIRECTORY)), path_(root.string()) {
    struct stat status {};
    if (::fstat(root_.get(), &status) != 0) throw_errno("stat " + path_);
    device_ = status.st_dev;
    add(status);
  }
  std::string run() {
    directory(root_.get());
    return digest_.text();
  }

 private:
  void directory(int fd) {
    for (const std::string& name : sorted_names(fd, path_)) {
      const std::size_t length = path_.size();
      path_ += '/';
      path_ += name;
      entry(fd, name);
      path_.resize(length);
    }
    digest_.add("");  // the end of a directory: what follows is not in it
  }

  void entry(int parent, const std::string& name) {
    struct stat status {};
    if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) throw_errno("stat " + path_);
    digest_.add(name);
    add(status);
    if (S_ISLNK(status.st_mode)) {
      std::array<char, PATH_MAX> target{};
      const ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
      if (size < 0) throw_errno("read link " + path_);
      digest_.add(std::string_view(target.data(), static_cast<std::size_t>(size)));
    } else if (S_ISDIR(status.st_mode) && status.st_dev == device_) {
      const Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) throw_errno("open " + path_);
      directory(fd.get());
    }
  }

  void add(const struct stat& status) {
    digest_.add(std::uint64_t{status.st_mode});
    digest_.add(std::uint64_t{status.st_uid});
    digest_.add(std::uint64_t{status.st_gid});
    if (S_ISDIR(status.st_mode)) return;  // its time changes when anything passes through it, its content is digested itself
    digest_.add(static_cast<std::uint64_t>(S_ISREG(status.st_mode) ? status.st_size : 0));
    digest_.add(static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) digest_.add(std::uint64_t{status.st_rdev});
  }

  Fd root_;
  std::string path_;
  dev_t device_ = 0;
  Digest digest_;
};

}  // namespace

std::string tree_digest(const std::filesystem::path& root) { return TreeWalk(root).run(); }

}  // namespace tare::image
