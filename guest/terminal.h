// SPDX-License-Identifier: Apache-2.0
// Terminals of processes in the guest, from the devpts that they see.
#pragma once

#include <cstdint>

namespace tare::guest::terminal {

struct Ends {
  int master = -1;  // non-blocking
  int slave = -1;
};

/// A new one. False with errno set.
bool open(Ends& ends) noexcept;
void resize(int fd, std::uint16_t rows, std::uint16_t columns) noexcept;
/// Makes it /dev/console, as runc does with the terminal of a first process. False with errno set.
bool bind_console(int master) noexcept;

}  // namespace tare::guest::terminal
