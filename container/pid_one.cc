// SPDX-License-Identifier: Apache-2.0
#include "container/pid_one.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "container/child.h"

namespace tare::container {
namespace {

/// All but those that tell of a fault of ours.
sigset_t handled_signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int number : {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&set, number);
  return set;
}

[[noreturn]] void become_program(char** arguments, StepReport& report) {
  report.at("process group");
  report.check(setpgid(0, 0));
  if (isatty(STDIN_FILENO) != 0) report.check(tcsetpgrp(STDIN_FILENO, getpgrp()), "terminal");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  report.at("execute");
  execute(arguments[1], arguments + 2, environ, report);
}

int status_of(int wait_status) { return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status); }

}  // namespace

int run_pid_one(char** arguments) {
  StepReport report(kReportDescriptor);
  report.at("init");
  report.check(fcntl(kReportDescriptor, F_SETFD, FD_CLOEXEC));
  prctl(PR_SET_NAME, kPidOneName);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // where it is not process 1: on metal
  const sigset_t handled = handled_signals();
  sigprocmask(SIG_BLOCK, &handled, nullptr);
  const pid_t child = fork();
  report.check(child, "fork");
  if (child == 0) become_program(arguments, report);
  close(kReportDescriptor);
  for (;;) {
    siginfo_t signal{};
    if (sigwaitinfo(&handled, &signal) < 0) continue;
    if (signal.si_signo != SIGCHLD) {
      kill(child, signal.si_signo);
      continue;
    }
    int status = 0;
    for (pid_t dead = 0; (dead = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (dead == child) return status_of(status);
    }
  }
}

}  // namespace tare::container
