// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <elf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "core/fd.h"
#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace {

using testing::HasSubstr;

constexpr char kProbe[] = TARE_PROBE;
constexpr std::array kBenchmarks = {"int_arithmetic", "float_arithmetic", "memory_triad",       "pointer_chase", "syscall",
                                    "context_switch", "page_fault",       "thread_create",      "file_read_4k",  "file_write_4k",
                                    "file_read_1m",   "file_write_1m",    "loopback_round_trip"};

Deadline soon() { return Deadline::in(std::chrono::seconds(20)); }

Output probe(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), kProbe);
  return run_tool(arguments, soon());
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::uint16_t free_port() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

/// A probe whose first line of output has been read.
struct Started {
  Child child;
  std::string line;
};
Started start(std::vector<std::string> arguments) {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  const Fd read_end(fds[0]);
  const Fd write_end(fds[1]);
  arguments.insert(arguments.begin(), kProbe);
  Child child = Child::spawn({.argv = arguments, .extra_environment = {}, .stdout_fd = write_end.get(), .die_with_parent = true});
  std::string line;
  for (char c = 0; c != '\n' && ::read(read_end.get(), &c, 1) == 1;) line += c;
  return {std::move(child), line};
}

Fd connect_to(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const sockaddr_in address = loopback(port);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

/// What comes back until `size` bytes are there or the other side closes.
std::string receive(const Fd& fd, std::size_t size) {
  std::string text;
  char buffer[65536];
  while (text.size() < size) {
    const ssize_t got = ::recv(fd.get(), buffer, std::min(sizeof buffer, size - text.size()), 0);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

const std::string kRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

class Serve : public testing::Test {
 protected:
  std::uint16_t port_ = free_port();
  Started started_ = start({"serve", "--port=" + std::to_string(port_)});
};

TEST_F(Serve, SaysWhereItListens) { EXPECT_EQ(started_.line, "listening on port " + std::to_string(port_) + "\n"); }

TEST_F(Serve, AnswersManyRequestsOnOneConnection) {
  const Fd fd = connect_to(port_);
  for (int i = 0; i < 3; ++i) {
    write_all(fd.get(), kRequest, "request");
    EXPECT_EQ(receive(fd, kAnswer.size()), kAnswer);
  }
}

TEST_F(Serve, AnswersRequestsThatArriveTogetherOrInPieces) {
  const Fd fd = connect_to(port_);
  write_all(fd.get(), kRequest + kRequest + kRequest.substr(0, 5), "requests");
  EXPECT_EQ(receive(fd, 2 * kAnswer.size()), kAnswer + kAnswer);
  write_all(fd.get(), kRequest.substr(5), "rest");
  EXPECT_EQ(receive(fd, kAnswer.size()), kAnswer);
}

TEST_F(Serve, ClosesWhenAskedToAndForHttp10) {
  for (const char* request : {"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}) {
    const Fd fd = connect_to(port_);
    write_all(fd.get(), request, "request");
    const std::string answer = receive(fd, 4096);  // returns at the end of the connection
    EXPECT_THAT(answer, testing::AllOf(HasSubstr("200 OK"), HasSubstr("Connection: close"), testing::EndsWith("\r\n\r\nok\n")));
  }
}

TEST_F(Serve, SendsNoBodyToHead) {
  const Fd fd = connect_to(port_);
  write_all(fd.get(), "HEAD / HTTP/1.1\r\n\r\n" + kRequest, "requests");
  const std::string head = kAnswer.substr(0, kAnswer.size() - 3);
  EXPECT_EQ(receive(fd, head.size() + kAnswer.size()), head + kAnswer);
}

TEST_F(Serve, SurvivesConnectionsThatCloseOrResetAtOnce) {
  for (int i = 0; i < 50; ++i) {
    const Fd fd = connect_to(port_);
    const linger reset{1, i % 2};  // with 0 seconds close(2) sends RST
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (i % 3 == 0) write_all(fd.get(), kRequest, "request");
  }
  const Fd fd = connect_to(port_);
  write_all(fd.get(), kRequest, "request");
  EXPECT_EQ(receive(fd, kAnswer.size()), kAnswer);
}

TEST_F(Serve, DropsAClientThatSendsNoEndOfItsRequest) {
  const Fd fd = connect_to(port_);
  const std::string much(32U << 10, 'x');
  for (int i = 0; i < 8; ++i) {
    if (::send(fd.get(), much.data(), much.size(), MSG_NOSIGNAL) < 0) break;
  }
  EXPECT_EQ(receive(fd, 1), "");
}

TEST_F(Serve, EndsWithZeroOnSigterm) {
  started_.child.signal(SIGTERM);
  const auto exit = started_.child.wait(soon());
  ASSERT_TRUE(exit);
  EXPECT_TRUE(exit->ok()) << text_of(*exit);
}

TEST_F(Serve, SaysThatAPortIsTaken) {
  const Output second = probe({"serve", "--port=" + std::to_string(port_)});
  EXPECT_EQ(second.exit.code, 1);
  EXPECT_THAT(second.err, testing::AllOf(HasSubstr(std::to_string(port_)), HasSubstr("in use")));
}

TEST(ServeBytes, SendsABodyOfTheSizeAskedFor) {
  const std::uint16_t port = free_port();
  const Started started = start({"serve", "--port=" + std::to_string(port), "--bytes=5000000"});
  const Fd fd = connect_to(port);
  write_all(fd.get(), kRequest, "request");
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000000\r\n\r\n";
  const std::string answer = receive(fd, head.size() + 5000000);
  EXPECT_EQ(answer.substr(0, head.size()), head);
  EXPECT_TRUE(answer.substr(head.size()) == std::string(5000000, 'x'));
}

TEST(Idle, PrintsALineAndEndsWithZeroOnSigterm) {
  Started started = start({"idle"});
  EXPECT_EQ(started.line, "idle\n");
  started.child.signal(SIGTERM);
  const auto exit = started.child.wait(soon());
  ASSERT_TRUE(exit);
  EXPECT_TRUE(exit->ok()) << text_of(*exit);
}

TEST(Probe, NoopSaysNothingAndSucceeds) {
  const Output noop = probe({"noop"});
  EXPECT_TRUE(noop.exit.ok());
  EXPECT_EQ(noop.out + noop.err, "");
}

TEST(Probe, RefusesWhatItDoesNotUnderstand) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{{},
                                                                                         {"serv"},
                                                                                         {"serve"},
                                                                                         {"serve", "--port=0"},
                                                                                         {"serve", "--port=65536"},
                                                                                         {"serve", "--port=8080x"},
                                                                                         {"idle", "now"},
                                                                                         {"bench", "--min-time=0"},
                                                                                         {"bench", "--min-time=x"},
                                                                                         {"bench", "--fast"}}) {
    const Output output = probe(arguments);
    EXPECT_EQ(output.exit.code, 2) << testing::PrintToString(arguments);
    EXPECT_THAT(output.err, testing::StartsWith("probe: "));
  }
}

TEST(Probe, IsStaticAndSmall) {
  const std::string binary = read_file(kProbe);
  Elf64_Ehdr header;
  ASSERT_GT(binary.size(), sizeof header);
  std::memcpy(&header, binary.data(), sizeof header);
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, binary.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    EXPECT_NE(segment.p_type, Elf64_Word{PT_INTERP}) << "it asks for a dynamic loader";
  }
  EXPECT_LT(binary.size(), std::size_t{4} << 20);
}

TEST(Bench, MeasuresEveryBenchmarkAndCleansUp) {
  const TempDir directory;
  const Output bench = probe({"bench", "--min-time=0.001", "--directory=" + directory.path().string()});
  EXPECT_TRUE(bench.exit.ok()) << bench.err;
  for (const char* name : kBenchmarks) EXPECT_THAT(bench.out, HasSubstr("\"name\": \"" + std::string(name) + "\","));
  EXPECT_THAT(bench.out, testing::Not(HasSubstr("error_occurred")));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Bench, DoesTheSameWorkEachTime) {
  const auto checksums = [] {
    std::string found;
    std::istringstream lines(probe({"bench", "--min-time=0.001", "--filter=arithmetic|memory|pointer"}).out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("checksum") != std::string::npos) found += line + "\n";
    }
    return found;
  };
  const std::string first = checksums();
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 4);
  EXPECT_EQ(checksums(), first);
}

TEST(Bench, SaysWhichBenchmarkFailedAndFails) {
  const Output bench = probe({"bench", "--min-time=0.001", "--filter=file_read_4k|syscall", "--directory=/nonexistent"});
  EXPECT_EQ(bench.exit.code, 1);
  EXPECT_THAT(bench.err, testing::AllOf(HasSubstr("file_read_4k"), HasSubstr("/nonexistent"), HasSubstr("No such file")));
  EXPECT_THAT(bench.out, HasSubstr("\"error_occurred\": true"));
}

TEST(Bench, FailsWhenNothingMatches) {
  const Output bench = probe({"bench", "--filter=no_such_benchmark"});
  EXPECT_EQ(bench.exit.code, 1);
  EXPECT_THAT(bench.err, HasSubstr("no_such_benchmark"));
}

}  // namespace
}  // namespace tare
