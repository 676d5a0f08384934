// SPDX-License-Identifier: Apache-2.0
// The guest's end of the channel: frames out, frames in. Nothing here waits for a host that does not read: what it has not read yet stands
// in a fixed buffer, and who sends looks for room first, so that no output is ever lost and a guest whose agent died goes on reaping and
// waits for the next one.
#pragma once

#include <poll.h>

#include <optional>
#include <string_view>

#include "guest/protocol.h"

namespace tare::guest::channel {

/// Opens the port, waiting until the driver has made it. False when there is none.
bool open_port() noexcept;
bool is_open() noexcept;

/// What to poll the port for, and for how many milliseconds at most: -1 is for ever.
int prepare_poll(pollfd& port) noexcept;
/// Writes what waits and reads what is there, as far as poll() told. False when the port is gone.
bool serve_poll(const pollfd& port) noexcept;
/// Writes what waits, for `milliseconds` at most.
void drain(int milliseconds) noexcept;

/// An agent that shows this token, of kTokenSize bytes, may go on where another one died.
void expect(std::string_view token) noexcept;
/// How much of the workload's output an agent has that has come since the last call; nothing where none has. To be asked before next(), and
/// what it gets is sent next.
std::optional<std::uint64_t> attached() noexcept;

/// True when the largest frame has room. Who finds none comes back after the next poll().
bool has_room() noexcept;
/// Sends one frame. False when the payload is longer than any may be; waits only where has_room() was not asked.
bool send(Type type, std::uint16_t process, std::string_view payload) noexcept;
template <class Message>
bool send(const Message& message, std::uint16_t process) noexcept;
void fail(std::uint16_t process, const char* step, int error) noexcept;

/// The next frame of what was read. Ends the guest when the host's bytes make no sense: there is nothing to resume from.
bool next(Frame& frame) noexcept;

/// Room in which a message is encoded before commit() sends it.
std::span<char> room() noexcept;
void commit(std::size_t size) noexcept;
std::uint32_t sequence() noexcept;

template <class Message>
bool send(const Message& message, std::uint16_t process) noexcept {
  const std::size_t size = encode(message, process, sequence(), room());
  commit(size);
  return size > 0;
}

}  // namespace tare::guest::channel
