// SPDX-License-Identifier: Apache-2.0
// Somebody who uses `tare` at a terminal.
#pragma once

#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>

#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "core/fd.h"
#include "core/paths.h"
#include "tests/integration/instances_fixture.h"

namespace tare::test {

/// A person at a terminal of 24 × 80: a program that has it as its controlling
/// terminal, and what it shows.
class Person {
 public:
  Person(const std::vector<std::string>& arguments, const Paths& paths) {
    std::vector<std::string> words = {TARE_BINARY_DIR "/bin/tare"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string state = paths.state.string();
    const std::string run = paths.run.string();
    const winsize size{24, 80, 0, 0};
    int master = -1;
    int slave = -1;
    EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
    master_ = Fd(master);
    slave_ = Fd(slave);
    ::tcgetattr(slave, &before_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setenv("TARE_STATE_DIR", state.c_str(), 1);
      ::setenv("TARE_RUN_DIR", run.c_str(), 1);
      ::login_tty(slave);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::fcntl(master, F_SETFL, O_NONBLOCK);
  }
  ~Person() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Person(const Person&) = delete;
  Person& operator=(const Person&) = delete;

  void type(const std::string& keys) const {
    EXPECT_EQ(::write(master_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void resize(unsigned short rows, unsigned short columns) const {
    const winsize size{rows, columns, 0, 0};
    ::ioctl(master_.get(), TIOCSWINSZ, &size);
  }
  bool sees(const std::string& what) {
    for (const Deadline deadline = Deadline::in(20s); !deadline.passed(); std::this_thread::sleep_for(5ms)) {
      look();
      if (seen_.find(what) != std::string::npos) return true;
    }
    return false;
  }
  /// Its exit status; the terminal must be as it was.
  int ends() {
    int status = 0;
    for (const Deadline deadline = Deadline::in(20s); !deadline.passed(); std::this_thread::sleep_for(5ms)) {
      look();
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        look();
        termios after{};
        ::tcgetattr(slave_.get(), &after);
        EXPECT_EQ(after.c_lflag, before_.c_lflag);
        EXPECT_EQ(after.c_iflag, before_.c_iflag);
        EXPECT_EQ(after.c_oflag, before_.c_oflag);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      }
    }
    return -1;
  }
  pid_t pid() const { return pid_; }
  const std::string& seen() const { return seen_; }

 private:
  void look() {
    char chunk[4096];
    for (ssize_t count = 0; (count = ::read(master_.get(), chunk, sizeof chunk)) > 0;) seen_.append(chunk, static_cast<std::size_t>(count));
  }
  Fd master_;
  Fd slave_;  // so that what the program left of the settings can be asked
  termios before_{};
  pid_t pid_ = -1;
  std::string seen_;
};

}  // namespace tare::test
