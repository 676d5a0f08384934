// SPDX-License-Identifier: Apache-2.0
#include "container/receive.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "container/protocol.h"

namespace tare::container {

Received receive_message(int socket, std::string& message, std::vector<Fd>& fds) {
  const ssize_t size = recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EINTR ? Received::nothing : Received::end;
  if (size == 0 || static_cast<std::size_t>(size) > kLargestMessage) return Received::end;
  message.resize(static_cast<std::size_t>(size));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
  iovec part{message.data(), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != size) return Received::end;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return Received::message;
}

Fd receive_descriptor(int socket) {
  std::string byte;
  std::vector<Fd> fds;
  if (receive_message(socket, byte, fds) != Received::message || fds.size() != 1) return Fd();
  return std::move(fds[0]);
}

}  // namespace tare::container
