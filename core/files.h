// SPDX-License-Identifier: Apache-2.0
// Files as tare uses them: small ones read whole, results written so that a crash leaves the old or the new content,
// temporary directories that end with their owner. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/fd.h"

namespace tare {

/// The content of `path`. Throws Error naming the path. Works on /proc and /sys, whose files have no size.
std::string read_file(const std::filesystem::path& path);
/// The same, or nothing when the file does not exist or cannot be read: for kernel files that some hosts lack.
std::optional<std::string> try_read_file(const std::filesystem::path& path);
/// One unsigned number, as most kernel files hold; nothing when the file is missing or says "max".
std::optional<std::uint64_t> try_read_number(const std::filesystem::path& path);
/// The number behind `key ` in a flat keyed file such as cpu.stat or memory.stat, already read into `text`.
std::optional<std::uint64_t> keyed_number(std::string_view text, std::string_view key);

/// Writes `content` to a new file beside `path`, syncs it and renames it over `path`.
/// Throws Error(exhausted) when the disk is full; `path` then still has its old content.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);
/// Writes `content` to an existing kernel file in one write(2). Throws Error naming the path.
void write_kernel_file(const std::filesystem::path& path, std::string_view content);
/// Opens with O_CLOEXEC added to `flags`. Throws Error naming the path.
Fd open_file(const std::filesystem::path& path, int flags, unsigned mode = 0644);
/// User and group of a file or of a symbolic link itself. Throws Error naming the path.
void change_owner(const std::filesystem::path& path, unsigned id);
/// write(2) until all of `content` is out. Throws Error("write <what>: …").
void write_all(int fd, std::string_view content, std::string_view what);

/// Removes a tree that tare made, without following a symbolic link or crossing into a mount; a missing one is no error.
void remove_tree(const std::filesystem::path& path);

/// A directory of our own, removed with everything in it when the owner dies.
class TempDir {
 public:
  /// Makes `parent`/tare-XXXXXX with mode 0700.
  explicit TempDir(const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~TempDir();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// An exclusive flock(2) on `path`, made when missing, held until the owner dies.
class FileLock {
 public:
  /// Waits for the lock. Throws Error naming the path.
  static FileLock wait(const std::filesystem::path& path);
  /// Nothing when another process holds it.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace tare
