// SPDX-License-Identifier: Apache-2.0
#include "vm/guest_work.h"

#include <algorithm>

#include "core/error.h"

namespace tare::vm {
namespace {

// All before the first is queued: a half-sent one would become part of the next.
void check(const std::vector<std::string>& list) {
  for (const std::string& text : list) {
    if (text.size() > guest::kMaxPayload) {
      throw Error(Code::invalid, "'" + text.substr(0, 40) + "…' is longer than one argument may be");
    }
  }
}

}  // namespace

GuestCommand command_of(const ExecRequest& request, const GuestWork& work) {
  GuestCommand command = work.command;
  command.program.clear();
  command.arguments = request.command;
  if (!request.working_directory.empty()) command.directory = request.working_directory;
  command.open_stdin = request.open_stdin;
  command.tty = request.tty;
  command.terminal = request.terminal;
  const auto set = [&](const std::string& entry) {
    std::erase_if(command.environment,
                  [&](const std::string& old) { return old.substr(0, old.find('=')) == entry.substr(0, entry.find('=')); });
    command.environment.push_back(entry);
  };
  if (request.tty) set("TERM=xterm");
  if (!request.user.empty()) {
    command.user = image::resolve_user(work.image.layers, request.user);
    set("HOME=" + (command.user.home.empty() ? "/" : command.user.home));
  }
  for (const std::string& entry : request.environment) set(entry);
  return command;
}

guest::Attributes attributes_of(const GuestCommand& command) {
  guest::Attributes attributes;
  attributes.uid = command.user.uid;
  attributes.gid = command.user.gid;
  attributes.umask = command.umask;
  attributes.restricted = command.restricted ? 1 : 0;
  attributes.open_stdin = command.open_stdin ? 1 : 0;
  attributes.tty = command.tty ? 1 : 0;
  attributes.rows = command.terminal.rows;
  attributes.columns = command.terminal.columns;
  return attributes;
}

void queue_command(Channel& channel, const GuestCommand& command) {
  using Key = guest::Setting::Key;
  check(command.arguments);
  check(command.environment);
  if (!command.program.empty()) channel.queue_setting(Key::program, command.program);
  channel.queue_setting(Key::directory, command.directory);
  for (const std::string& text : command.arguments) channel.queue_text(guest::Type::argument, text);
  for (const std::string& text : command.environment) channel.queue_text(guest::Type::environment, text);
  for (const std::uint32_t gid : command.user.groups) {
    guest::Group group;
    group.gid = gid;
    channel.queue(group);
  }
  for (const ResourceLimit& limit : command.limits) {
    guest::Limit message;
    message.resource = limit.resource;
    message.soft = limit.soft;
    message.hard = limit.hard;
    channel.queue(message);
  }
}

void queue_mounts(Channel& channel, const std::vector<GuestMount>& mounts) {
  for (const GuestMount& mount : mounts) {
    guest::MountAt message;
    message.kind = static_cast<std::uint8_t>(mount.kind);
    message.read_only = mount.what.read_only ? 1 : 0;
    message.set_ids = mount.what.type == Mount::Type::bind ? 1 : 0;
    message.share = mount.share;
    message.size = mount.what.size.value_or(Bytes{0}).count;
    message.text = mount.what.target;
    channel.queue(message);
  }
}

}  // namespace tare::vm
