// SPDX-License-Identifier: Apache-2.0
// What a guest is to run, as plain data, and how it is told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/ulimits.h"
#include "guest/protocol.h"
#include "image/store.h"
#include "image/user.h"
#include "vm/channel.h"
#include "vm/share.h"

namespace tare::vm {

/// One process: the workload's first, or one that exec adds.
struct GuestCommand {
  std::string program;  // empty: argv[0] is looked up in PATH, in the guest as it is then
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string directory;
  image::User user;
  unsigned umask = 022;
  std::vector<ResourceLimit> limits;
  bool open_stdin = false;
  bool tty = false;
  TerminalSize terminal;
  bool restricted = true;
};

struct GuestWork {
  GuestCommand command;
  image::Image image;  // in its layers the users of an exec are looked up
  std::string token;   // by which another agent is known, guest::kTokenSize digits; empty: nobody may go on with it
  std::string hostname;
  std::string address;  // with prefix; empty without a network
  std::string gateway;
  std::string gateway_mac;
  std::string resolver;       // text of /etc/resolv.conf
  std::string resolver_note;  // which name servers it lacks and why
  std::uint64_t pids = 0;     // 0: unlimited
  bool asks_facts = false;    // the guest tells what it sees of its machine, when it has started the workload
  std::vector<GuestMount> mounts;
  bool read_only_root = false;
};

/// The command of `request` in a guest with this work: what it does not say is the workload's. Throws what image::resolve_user() throws.
GuestCommand command_of(const ExecRequest& request, const GuestWork& work);
guest::Attributes attributes_of(const GuestCommand& command);
/// Queues what goes before the `start` or `exec`. Throws Error(invalid), with nothing queued, where a string is longer than a kernel takes.
void queue_command(Channel& channel, const GuestCommand& command);
/// Queues what goes before the `start`.
void queue_mounts(Channel& channel, const std::vector<GuestMount>& mounts);

}  // namespace tare::vm
