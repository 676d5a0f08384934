// SPDX-License-Identifier: Apache-2.0
// The one program in the root filesystem of the vm tests: does what its first argument says.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

}  // namespace

int main(int argc, char** argv, char** environment) {
  const std::string what = argc > 1 ? argv[1] : "";
  const char* more = argc > 2 ? argv[2] : "";
  if (what == "hello") return hello();
  if (what == "wait") return wait_for_term();
  if (what == "stubborn") return ignore_term();
  if (what == "lines") return lines(std::atoi(more));
  if (what == "show") return show(more);
  if (what == "write") return write_and_show(more);
  if (what == "fork") return fork_many(std::atoi(more));
  if (what == "self") return self(environment, argc, argv);
  if (what == "answer") return answer(std::atoi(more));
  if (what == "abort") std::abort();
  return 64;
}
