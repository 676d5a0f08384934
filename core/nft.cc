// SPDX-License-Identifier: Apache-2.0
#include "core/nft.h"

#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>

#include "core/error.h"
#include "core/fd.h"

namespace tare::nft {
namespace {

/// Asks for the generation of the rules, which every nf_tables answers. libnftables itself would end the process where the kernel has no
/// such socket.
bool answers() {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) return false;
  struct {
    nlmsghdr header;
    nfgenmsg family;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  if (::send(socket.get(), &request, sizeof request, 0) < 0) return false;
  alignas(nlmsghdr) char reply[4096];
  if (::recv(socket.get(), reply, sizeof reply, 0) < static_cast<ssize_t>(sizeof(nlmsghdr))) return false;
  return reinterpret_cast<const nlmsghdr*>(reply)->nlmsg_type != NLMSG_ERROR;
}

Error absent(const std::string& action) {
  return {Code::unsuited, action + ": this kernel has no nf_tables", "modprobe nf_tables, or use `network: link`"};
}

// libnftables opens its socket without O_CLOEXEC; no program that this process starts may have it.
void close_on_exec() {
  std::error_code ignored;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const int fd = std::atoi(entry->path().filename().c_str());
    int domain = 0, protocol = 0;
    socklen_t size = sizeof domain;
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK) continue;
    if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == NETLINK_NETFILTER) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

struct FreeContext {
  void operator()(nft_ctx* context) const noexcept { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

// Reading the names of protocols and marks from /etc takes longer than a command does: one context for the process. libnftables keeps
// some tables of its own in static memory, so that two contexts would need the lock all the same.
struct Nft {
  Nft() : context(nft_ctx_new(NFT_CTX_DEFAULT)) {
    if (!context) throw Error(Code::exhausted, "nftables: out of memory");
    close_on_exec();
    nft_ctx_buffer_output(context.get());
    nft_ctx_buffer_error(context.get());
    nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_NUMERIC_ALL);
  }
  Context context;
};

std::string first_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  line.resize(std::min(line.find('\n'), line.size()));
  return line;
}

}  // namespace

bool is_available() { return answers(); }

std::string run(const std::string& commands, const std::string& action) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static bool answered = false;
  if (!answered && !(answered = answers())) throw absent(action);
  static Nft nft;
  errno = 0;
  const int result = nft_run_cmd_from_buffer(nft.context.get(), commands.c_str());
  const int error = errno;
  const std::string said = first_line(nft_ctx_get_error_buffer(nft.context.get()));
  std::string printed = nft_ctx_get_output_buffer(nft.context.get());
  if (result == 0) return printed;
  if (error == EOPNOTSUPP || error == EAFNOSUPPORT) throw absent(action);  // a part of it is missing: maps, NAT
  throw Error(code_of_errno(error), action + ": " + (said.empty() ? errno_text("nftables", error) : said));
}

}  // namespace tare::nft
