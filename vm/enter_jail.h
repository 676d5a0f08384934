// SPDX-License-Identifier: Apache-2.0
// The other end of vm/jail.h: makes this process the prisoner. For a small program of one thread.
#pragma once

namespace tare::vm {

/// Does what TARE_JAIL says and forgets the variable; the last thing before the emulator is executed with `argv`, of which libvirt's key
/// file is given to it. Says on stderr what failed, then returns false. Does nothing without the variable.
bool enter_jail(const char* program, char** argv);

}  // namespace tare::vm
