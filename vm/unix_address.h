// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "core/error.h"

namespace tare::vm {

/// The address of a socket in an instance's directory; `what` is "channel", for the sentence. Throws Error(invalid) for a path that does
/// not fit.
inline sockaddr_un unix_address(const std::filesystem::path& path, const std::string& what) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    throw Error(Code::invalid, what + " " + path.string() + ": the path is longer than a socket's may be",
                "choose a shorter state directory");
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size() + 1);
  return address;
}

}  // namespace tare::vm
