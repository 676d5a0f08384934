// SPDX-License-Identifier: Apache-2.0
#include "core/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

namespace tare {
namespace {

namespace fs = std::filesystem;

/// The inode of the listening socket, from the lines "sl local_address rem_address st … inode" of /proc/net/tcp.
std::optional<std::string> listening_inode(std::uint16_t port) {
  for (const char* file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::istringstream lines(try_read_file(file).value_or(""));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string slot, local, remote, state, skip, inode;
      words >> slot >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) words >> skip;
      words >> inode;
      const auto colon = local.find(':');
      if (state == "0A" && colon != std::string::npos && std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) return inode;
    }
  }
  return std::nullopt;
}

bool holds_socket(const fs::path& process, const std::string& link) {
  std::error_code gone;
  for (fs::directory_iterator fd(process / "fd", gone), end; !gone && fd != end; fd.increment(gone)) {
    std::error_code closed;
    if (fs::read_symlink(fd->path(), closed) == link && !closed) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> listener_on(std::uint16_t port) {
  const auto inode = listening_inode(port);
  if (!inode) return std::nullopt;
  std::error_code gone;
  for (fs::directory_iterator process("/proc", gone), end; !gone && process != end; process.increment(gone)) {
    const std::string pid = process->path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!holds_socket(process->path(), "socket:[" + *inode + "]")) continue;
    std::string name = try_read_file(process->path() / "comm").value_or("?");
    while (!name.empty() && name.back() == '\n') name.pop_back();
    return name + " (pid " + pid + ")";
  }
  return std::nullopt;
}

std::vector<Fd> hold_ports(const std::vector<Publish>& ports, const std::string& who) {
  std::vector<Fd> held;
  for (const Publish& port : ports) {
    const Fd& socket = held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) throw_errno(who + ": socket");
    const int yes = 1;  // a connection that an earlier server closed a minute ago is no listener
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port.host);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      const int error = errno;
      const std::string sentence = who + ": port " + std::to_string(port.host);
      if (error != EADDRINUSE) throw Error(code_of_errno(error), errno_text(sentence, error));
      const auto listener = listener_on(port.host);
      throw Error(Code::conflict, sentence + " is in use" + (listener ? " by " + *listener : ""),
                  "stop that process, or publish another port");
    }
    const int no = 0;  // whoever binds it later cannot listen on it
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &no, sizeof no);
  }
  return held;
}

std::vector<Fd> hold_again(const std::vector<Publish>& ports, const std::string& who) {
  std::vector<Fd> held;
  for (const Publish& port : ports) {
    try {
      std::vector<Fd> one = hold_ports({port}, who);
      held.push_back(std::move(one.front()));
    } catch (const Error&) {  // NOLINT: a server has it
    }
  }
  return held;
}

}  // namespace tare
