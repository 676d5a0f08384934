// SPDX-License-Identifier: Apache-2.0
// As whom a workload runs: "name|uid[:group|gid]", with names looked up in the image's own /etc/passwd and /etc/group. Nothing of the host
// is asked and no code of the image runs: the two files are hostile text. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tare::image {

struct User {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups = {0};  // all of them, the first one included
  std::string home;                         // of /etc/passwd; empty where the user is not in it
  bool operator==(const User&) const = default;
};

/// Of `text` in the root file system whose layers lie in `roots`, the uppermost first. Empty means root, and no file is read. A uid that
/// the image does not know has group 0; a group that is named is the only one, else those of /etc/group are added, as with Docker.
/// Throws Error(invalid) for what is no user (numbers go from 0 to 4294967294) and for a file that is not regular or over 10 MiB,
/// Error(not_found) for a name that is not in it.
User resolve_user(const std::vector<std::filesystem::path>& roots, std::string_view text);
/// "root", or "uid 33, gid 33, groups 33,4".
std::string text_of(const User& user);

}  // namespace tare::image
