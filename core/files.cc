// SPDX-License-Identifier: Apache-2.0
#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <random>
#include <system_error>

#include "core/error.h"

namespace tare {
namespace fs = std::filesystem;
namespace {

// Reads to the end; empty optional (errno set) on failure.
std::optional<std::string> slurp(int fd) {
  std::string content;
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n == 0) return content;
    if (n < 0) {
      if (errno == EINTR) continue;
      return std::nullopt;
    }
    content.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

void sync_directory(const fs::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) ::fsync(fd.get());
}

}  // namespace

std::string read_file(const fs::path& path) {
  const Fd fd = open_file(path, O_RDONLY);
  auto content = slurp(fd.get());
  if (!content) throw_errno("read " + path.string());
  return *std::move(content);
}

std::optional<std::string> try_read_file(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  return slurp(fd.get());
}

std::optional<std::uint64_t> try_read_number(const fs::path& path) {
  const auto text = try_read_file(path);
  if (!text) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end == text->data()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> keyed_number(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t line_end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, line_end - at);
    at = line_end + 1;
    if (!line.starts_with(key) || line.size() <= key.size() || (line[key.size()] != ' ' && line[key.size()] != ':')) continue;
    line.remove_prefix(key.size() + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    if (error == std::errc() && end != line.data()) return number;
  }
  return std::nullopt;
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  fs::path temporary = path;
  temporary += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(std::random_device{}());
  try {
    const Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    write_all(fd.get(), content, path.string());
    if (::fsync(fd.get()) != 0) throw_errno("sync " + path.string(), "free space on its file system");
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("rename to " + path.string());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void write_kernel_file(const fs::path& path, std::string_view content) {
  const Fd fd = open_file(path, O_WRONLY);
  // A kernel file takes its value in one write; a second part would be a second value.
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    throw_errno("write '" + std::string(content) + "' to " + path.string());
  }
}

Fd open_file(const fs::path& path, int flags, unsigned mode) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) throw_errno("open " + path.string());
  return fd;
}

void change_owner(const fs::path& path, unsigned id) {
  if (::lchown(path.c_str(), id, id) != 0) throw_errno("give " + path.string() + " to user " + std::to_string(id));
}

void write_all(int fd, std::string_view content, std::string_view what) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno("write " + std::string(what), errno == ENOSPC ? "free space on its file system" : "");
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
}

void remove_tree(const fs::path& path) {
  for (;;) {
    std::error_code error;
    fs::remove_all(path, error);  // uses openat and O_NOFOLLOW, so a swapped link cannot lead outside
    if (!error) return;
    if (error != std::errc::no_such_file_or_directory) {
      throw Error(code_of_errno(error.value()), errno_text("remove " + path.string(), error.value()));
    }
    // It stops at an entry that somebody else removed first, as libvirt does with a dead domain's sockets: the rest is still there.
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(path, ignored))) return;
  }
}

TempDir::TempDir(const fs::path& parent) {
  std::string name = (parent / "tare-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw_errno("make a temporary directory in " + parent.string());
  path_ = name;
}

TempDir::~TempDir() {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

FileLock FileLock::wait(const fs::path& path) {
  Fd fd = open_file(path, O_RDWR | O_CREAT);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw_errno("lock " + path.string());
  }
  return FileLock(std::move(fd));
}

std::optional<FileLock> FileLock::try_lock(const fs::path& path) {
  Fd fd = open_file(path, O_RDWR | O_CREAT);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return FileLock(std::move(fd));
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw_errno("lock " + path.string());
}

}  // namespace tare
