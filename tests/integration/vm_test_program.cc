// SPDX-License-Identifier: Apache-2.0
// The one program in the root filesystem of the vm tests: does what its first argument says.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

int hello() {
  std::puts("to stdout");
  std::fputs("to stderr\n", stderr);
  return 7;
}

int wait_for_term() {
  std::signal(SIGTERM, [](int) { _exit(3); });
  std::puts("waiting");
  std::fflush(stdout);
  for (;;) pause();
}

int ignore_term() {
  std::signal(SIGTERM, SIG_IGN);
  if (fork() == 0) {
    for (;;) pause();
  }
  std::puts("waiting");
  std::fflush(stdout);
  for (;;) pause();
}

int lines(int count) {
  for (int i = 0; i < count; ++i) std::printf("line %d\n", i);
  return 0;
}

int show(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 1;
  char text[4096];
  for (std::size_t size = 0; (size = std::fread(text, 1, sizeof text, file)) > 0;) std::fwrite(text, 1, size, stdout);
  std::fclose(file);
  return 0;
}

int write_and_show(const char* path) {
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return 1;
  std::fputs("written\n", file);
  std::fclose(file);
  return show(path);
}

int fork_many(int count) {
  int made = 0;
  for (int i = 0; i < count; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    if (pid > 0) ++made;
  }
  std::printf("made %d\n", made);
  return 0;
}

int self(char** environment, int argc, char** argv) {
  char text[256];
  gethostname(text, sizeof text);
  std::printf("hostname=%s\n", text);
  std::printf("directory=%s\n", getcwd(text, sizeof text));
  for (int i = 2; i < argc; ++i) std::printf("argument=%s\n", argv[i]);
  for (char** entry = environment; *entry != nullptr; ++entry) std::printf("environment=%s\n", *entry);
  return show("/proc/self/status");
}

// Several steps in one guest: "show PATH", "write PATH", "remount PATH", each with a line that says how it went.
int do_steps(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    const char* path = std::strchr(argv[i], ' ') + 1;
    std::printf("%s: ", argv[i]);
    int failed = 0;
    errno = 0;
    switch (argv[i][0]) {
      case 's': failed = show(path); break;
      case 'w': failed = write_and_show(path); break;
      default:
        failed = mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND, nullptr);
        if (failed == 0) failed = mount(nullptr, path, nullptr, MS_REMOUNT, nullptr);
        if (failed == 0) std::puts("done");
    }
    if (failed != 0) std::puts(std::strerror(errno));
  }
  return 0;
}

int panic() {
  std::FILE* file = std::fopen("/proc/sysrq-trigger", "w");
  if (file == nullptr) return 1;
  std::fputs("c", file);
  return std::fclose(file);
}

int answer(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 8) != 0) return 1;
  for (;;) {
    const int peer = accept(listener, nullptr, nullptr);
    if (write(peer, "answer", 6) != 6) return 1;
    close(peer);
  }
}

int tell_time() {
  std::printf("%lld\n", static_cast<long long>(std::time(nullptr)));
  return 0;
}

}  // namespace

int main(int argc, char** argv, char** environment) {
  const std::string what = argc > 1 ? argv[1] : "";
  const char* more = argc > 2 ? argv[2] : "";
  if (what == "hello") return hello();
  if (what == "wait") return wait_for_term();
  if (what == "stubborn") return ignore_term();
  if (what == "lines") return lines(std::atoi(more));
  if (what == "show") return show(more);
  if (what == "do") return do_steps(argc, argv);
  if (what == "panic") return panic();
  if (what == "write") return write_and_show(more);
  if (what == "fork") return fork_many(std::atoi(more));
  if (what == "self") return self(environment, argc, argv);
  if (what == "answer") return answer(std::atoi(more));
  if (what == "time") return tell_time();
  if (what == "abort") std::abort();
  return 64;
}
