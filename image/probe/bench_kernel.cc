// SPDX-License-Identifier: Apache-2.0
// Work of the kernel: entering it, switching, faulting, making threads, its loopback network.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/fd.h"
#include "image/probe/bench.h"

namespace probe {

void syscall_cost(benchmark::State& state) {
  const long expected = ::syscall(SYS_getppid);
  long wrong = 0;
  for (auto _ : state) wrong += ::syscall(SYS_getppid) != expected ? 1 : 0;  // the C library keeps no copy of this one
  if (wrong != 0) state.SkipWithError("getppid(2) changed its answer");
  state.counters["checksum"] = static_cast<double>(wrong);
}

namespace {

struct Pipe {
  tare::Fd read, write;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) == 0) {
      read = tare::Fd(fds[0]);
      write = tare::Fd(fds[1]);
    }
  }
};

/// The other process of context_switch: sends each byte back, one higher, until the pipe closes.
[[noreturn]] void send_back(int in, int out) {
  unsigned char token = 0;
  while (::read(in, &token, 1) == 1) {
    ++token;
    if (::write(out, &token, 1) != 1) break;
  }
  ::_exit(0);
}

}  // namespace

/// A byte to another process and back over two pipes, both processes on one CPU: two switches, and the time is that of one.
void context_switch(benchmark::State& state) {
  const OneCpu cpu;
  if (!cpu.pinned()) return fail(state, "sched_setaffinity", errno);
  Pipe there;
  Pipe back;
  if (!there.read || !back.read) return fail(state, "pipe2", errno);
  const pid_t child = ::fork();
  if (child < 0) return fail(state, "fork", errno);
  if (child == 0) {
    there.write.reset();
    back.read.reset();
    send_back(there.read.get(), back.write.get());
  }
  there.read.reset();
  back.write.reset();
  unsigned char token = 0;
  unsigned char expected = 0;
  bool good = true;
  while (state.KeepRunningBatch(2)) {
    if (::write(there.write.get(), &token, 1) != 1 || ::read(back.read.get(), &token, 1) != 1) good = false;
    if (token != ++expected) good = false;
    if (!good) break;
  }
  there.write.reset();
  ::waitpid(child, nullptr, 0);
  if (!good) state.SkipWithError("the byte came back wrong");
  state.counters["checksum"] = good ? 1 : 0;
}

/// First touches of anonymous 4 KiB pages, with the mapping and unmapping of 256 of them; the time is that of one page.
void page_fault(benchmark::State& state) {
  constexpr std::size_t kPages = 256;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  struct rusage before {};
  ::getrusage(RUSAGE_SELF, &before);
  std::size_t touched = 0;
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(kPages))) {
    void* mapped = ::mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      fail(state, "mmap", errno);
      break;
    }
    ::madvise(mapped, kPages * page, MADV_NOHUGEPAGE);  // one fault for one page; a kernel without huge pages refuses, and needs no telling
    auto* bytes = static_cast<volatile unsigned char*>(mapped);
    for (std::size_t i = 0; i < kPages; ++i) bytes[i * page] = 1;
    touched += kPages;
    ::munmap(mapped, kPages * page);
  }
  struct rusage after {};
  ::getrusage(RUSAGE_SELF, &after);
  if (static_cast<std::size_t>(after.ru_minflt - before.ru_minflt) < touched) state.SkipWithError("fewer page faults than pages touched");
  state.counters["checksum"] = static_cast<double>(kPages);
}

void thread_create(benchmark::State& state) {
  std::uint64_t started = 0;
  std::uint64_t wanted = 0;
  const auto body = [](void* counter) -> void* {
    ++*static_cast<std::uint64_t*>(counter);  // joined before the next one starts: no two touch it at once
    return nullptr;
  };
  for (auto _ : state) {
    pthread_t thread{};
    ++wanted;
    if (const int error = ::pthread_create(&thread, nullptr, body, &started); error != 0) {
      fail(state, "pthread_create", error);
      break;
    }
    ::pthread_join(thread, nullptr);
  }
  if (!state.error_occurred() && started != wanted) state.SkipWithError("a thread did not run");
  state.counters["checksum"] = started == wanted ? 1 : 0;
}

namespace {

constexpr std::size_t kMessage = 64;

bool send_whole(int fd, const void* bytes) { return ::send(fd, bytes, kMessage, MSG_NOSIGNAL) == static_cast<ssize_t>(kMessage); }
bool receive_whole(int fd, void* bytes) { return ::recv(fd, bytes, kMessage, MSG_WAITALL) == static_cast<ssize_t>(kMessage); }

void* echo(void* listener) {
  const tare::Fd fd(::accept4(*static_cast<int*>(listener), nullptr, nullptr, SOCK_CLOEXEC));
  const int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  unsigned char bytes[kMessage];
  while (fd && receive_whole(fd.get(), bytes) && send_whole(fd.get(), bytes)) {
  }
  return nullptr;
}

/// A listener on a free port of 127.0.0.1, and the address of it.
tare::Fd loopback_listener(sockaddr_in& address) {
  tare::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && ::listen(fd.get(), 1) == 0 &&
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    return fd;
  }
  return {};
}

}  // namespace

/// 64 bytes over TCP on 127.0.0.1 to a thread that sends them back, both on one CPU.
void loopback_round_trip(benchmark::State& state) {
  const OneCpu cpu;
  if (!cpu.pinned()) return fail(state, "sched_setaffinity", errno);
  sockaddr_in address;
  const tare::Fd listener = loopback_listener(address);
  if (!listener) return fail(state, "listen on 127.0.0.1", errno);
  tare::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  // Connected before the thread exists: the listener's queue holds it, and a failure leaves nobody waiting in accept(2).
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(state, "connect to 127.0.0.1", errno);
  pthread_t thread{};
  int number = listener.get();
  if (const int error = ::pthread_create(&thread, nullptr, echo, &number); error != 0) return fail(state, "pthread_create", error);
  unsigned char sent[kMessage] = {};
  unsigned char received[kMessage] = {};
  bool good = true;
  std::uint64_t count = 0;
  for (auto _ : state) {
    ++count;
    std::memcpy(sent, &count, sizeof count);
    if (!send_whole(fd.get(), sent) || !receive_whole(fd.get(), received) || std::memcmp(sent, received, kMessage) != 0) {
      good = false;
      break;
    }
  }
  fd.reset();
  ::pthread_join(thread, nullptr);
  if (!good) state.SkipWithError("the message came back wrong");
  state.counters["checksum"] = good ? static_cast<double>(kMessage) : 0;
}

}  // namespace probe
