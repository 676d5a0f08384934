// SPDX-License-Identifier: Apache-2.0
#include "image/user.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "core/error.h"
#include "core/fd.h"
#include "core/files.h"
#include "image/layers.h"

namespace tare::image {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargest = 10 * 1024 * 1024;
constexpr std::uint32_t kNobodyAtAll = 0xffffffff;  // -1: "leave it as it is" to the kernel

bool is_number(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

/// Nothing for more than 4294967294, and for what is no number.
std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t value = 0;
  if (!is_number(text)) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == kNobodyAtAll) return std::nullopt;
  return value;
}

bool is_name(std::string_view text) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  constexpr std::string_view kRest = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$";
  return !text.empty() && text.size() <= 256 && kFirst.find(text[0]) != std::string_view::npos &&
         text.find_first_not_of(kRest) == std::string_view::npos;
}

/// The content of `path`; nothing where the layers have none. Looked at before it is opened for reading: opening a device or a FIFO has
/// effects of its own.
std::optional<std::string> read_in(const std::vector<fs::path>& roots, const char* path) {
  const Fd found = Layers(roots).find(path);
  if (!found && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!found && errno == ELOOP) throw Error(Code::invalid, "/" + std::string(path) + " of the image is a link to itself", "mend the image");
  if (!found) throw_errno("open /" + std::string(path) + " of the image");
  struct stat status {};
  if (::fstat(found.get(), &status) != 0) throw_errno("stat /" + std::string(path) + " of the image");
  if (!S_ISREG(status.st_mode)) {
    throw Error(Code::invalid, "/" + std::string(path) + " of the image is no regular file", "mend the image");
  }
  const Fd file = open_file("/proc/self/fd/" + std::to_string(found.get()), O_RDONLY | O_NONBLOCK);
  std::string text;
  std::vector<char> buffer(64 * 1024);
  for (ssize_t size = 0; (size = ::read(file.get(), buffer.data(), buffer.size())) != 0;) {
    if (size < 0) throw_errno("read /" + std::string(path) + " of the image");
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (text.size() > kLargest || static_cast<std::size_t>(status.st_size) > kLargest) {
      throw Error(Code::invalid, "/" + std::string(path) + " of the image is larger than 10 MiB", "mend the image");
    }
  }
  return text;
}

/// Calls `visit` with the fields of each line that has at least `least`, until it returns true.
template <typename Visit>
void each_entry(std::string_view text, std::size_t least, Visit visit) {
  std::vector<std::string_view> fields;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    fields.clear();
    for (;;) {
      const std::size_t colon = line.find(':');
      fields.push_back(line.substr(0, colon));
      if (colon == std::string_view::npos) break;
      line.remove_prefix(colon + 1);
    }
    if (fields.size() >= least && visit(fields)) return;
  }
}

bool lists(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    const std::string_view member = members.substr(0, members.find(','));
    if (member == name) return true;
    members.remove_prefix(std::min(member.size() + 1, members.size()));
  }
  return false;
}

[[noreturn]] void refuse(std::string_view what, std::string_view text) {
  throw Error(Code::invalid, "'" + std::string(text) + "' is no " + std::string(what),
              "write name or uid, and :group or :gid after it where wanted; numbers go from 0 to 4294967294");
}

/// Its name in /etc/passwd; empty where it has none.
std::string look_up_user(const std::vector<fs::path>& roots, std::string_view text, User& user) {
  const auto number = number_of(text);
  if (!number && !is_name(text)) refuse("user", text);
  if (number) user.uid = *number;
  std::string name;
  each_entry(read_in(roots, "etc/passwd").value_or(""), 6, [&](const auto& fields) {
    const auto uid = number_of(fields[2]);
    const auto gid = number_of(fields[3]);
    if (!uid || !gid || (number ? *uid != *number : fields[0] != text)) return false;
    user.uid = *uid;
    user.gid = *gid;
    if (fields[5].starts_with('/')) user.home = fields[5];
    name = fields[0];
    return true;
  });
  if (!number && name.empty()) throw Error(Code::not_found, "user '" + std::string(text) + "' is not in /etc/passwd of the image");
  return name;
}

void look_up_group(const std::vector<fs::path>& roots, std::string_view text, User& user) {
  if (const auto number = number_of(text)) {
    user.gid = *number;
    return;
  }
  if (!is_name(text)) refuse("group", text);
  bool found = false;
  each_entry(read_in(roots, "etc/group").value_or(""), 3, [&](const auto& fields) {
    const auto gid = number_of(fields[2]);
    if (!gid || fields[0] != text) return false;
    user.gid = *gid;
    return found = true;
  });
  if (!found) throw Error(Code::not_found, "group '" + std::string(text) + "' is not in /etc/group of the image");
}

void add_groups(const std::vector<fs::path>& roots, const std::string& name, User& user) {
  constexpr std::size_t kMost = 65536;  // NGROUPS_MAX
  each_entry(read_in(roots, "etc/group").value_or(""), 4, [&](const auto& fields) {
    const auto gid = number_of(fields[2]);
    if (gid && lists(fields[3], name) && std::find(user.groups.begin(), user.groups.end(), *gid) == user.groups.end()) {
      user.groups.push_back(*gid);
    }
    return user.groups.size() == kMost;
  });
}

}  // namespace

User resolve_user(const std::vector<fs::path>& roots, std::string_view text) {
  User user;
  if (text.empty()) return user;
  const std::size_t colon = text.find(':');
  const std::string name = look_up_user(roots, text.substr(0, colon), user);
  if (colon != std::string_view::npos) look_up_group(roots, text.substr(colon + 1), user);
  user.groups = {user.gid};
  if (colon == std::string_view::npos && !name.empty()) add_groups(roots, name, user);
  return user;
}

std::string text_of(const User& user) {
  if (user.uid == 0) return "root";
  std::string text = "uid " + std::to_string(user.uid) + ", gid " + std::to_string(user.gid) + ", groups ";
  for (const std::uint32_t group : user.groups) text += std::to_string(group) + ",";
  text.pop_back();
  return text;
}

}  // namespace tare::image
