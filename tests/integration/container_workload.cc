// SPDX-License-Identifier: Apache-2.0
// What the integration tests of native backends run: one static program with a verb for each thing a test asks of a workload.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include <dirent.h>

namespace {

int cat(const char* path) {
  FILE* file = std::fopen(path, "re");
  if (file == nullptr) return std::perror(path), 1;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) std::fwrite(buffer, 1, n, stdout);
  std::fclose(file);
  return 0;
}

/// name → target of every link in a directory such as /proc/self/fd; plain names elsewhere.
int list(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return std::perror(path), 1;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    char target[512] = {};
    const ssize_t size = readlink((std::string(path) + "/" + entry->d_name).c_str(), target, sizeof target - 1);
    std::printf("%s%s%s\n", entry->d_name, size < 0 ? "" : " ", target);
  }
  closedir(directory);
  return 0;
}

int hog(long mebibytes) {
  for (long i = 0; i < mebibytes; ++i) std::memset(std::malloc(1 << 20), 1, 1 << 20);
  std::puts("held");
  std::fflush(stdout);
  pause();
  return 0;
}

int spin(long milliseconds) {
  timespec from{}, now{};
  clock_gettime(CLOCK_MONOTONIC, &from);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1'000'000 < milliseconds);
  return 0;
}

/// A child takes memory until it is killed or has it; ends with `code` when it was killed.
int child_hog(long mebibytes, int code) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (long i = 0; i < mebibytes; ++i) std::memset(std::malloc(1 << 20), 1, 1 << 20);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? code : 98;
}

/// Touches huge pages of 2 MiB until the kernel refuses; prints how many there were.
int hugepages(long most) {
  long count = 0;
  for (; count < most; ++count) {
    void* page = mmap(nullptr, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (page == MAP_FAILED) break;
    std::memset(page, 1, 2 << 20);
  }
  std::printf("%ld\n", count);
  return 0;
}

/// Makes a node of `type` with `numbers` ("8:0") at `path` and opens it.
int device(const char* type, const char* numbers, const char* path) {
  unsigned major = 0, minor = 0;
  if (std::sscanf(numbers, "%u:%u", &major, &minor) != 2) return 98;
  const int made = mknod(path, (*type == 'b' ? S_IFBLK : S_IFCHR) | 0600U, makedev(major, minor));
  std::puts(made == 0 ? "made" : std::strerror(errno));
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  std::puts(fd < 0 ? std::strerror(errno) : "open");
  unlink(path);
  return fd < 0;
}

/// Who owns each path, as "0:0 644".
int owner(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    struct stat status {};
    if (stat(paths[i], &status) != 0) return std::perror(paths[i]), 1;
    std::printf("%u:%u %o\n", status.st_uid, status.st_gid, status.st_mode & 07777U);
  }
  return 0;
}

/// What an escape would begin with; each line says what the kernel thinks of it.
int escape() {
  const auto say = [](const char* what, long result) { std::printf("%s: %s\n", what, result < 0 ? std::strerror(errno) : "done"); };
  say("tmpfs", mount("tmpfs", "/data", "tmpfs", 0, "size=64k"));
  say("remount", mount(nullptr, "/proc/sys", nullptr, MS_REMOUNT | MS_BIND, nullptr));
  say("disk", mknod("/disk", S_IFBLK | 0600U, makedev(8, 0)));
  say("setns", syscall(SYS_setns, open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC), 0));
  say("chown", chown("/data", 100'000, 100'000));
  say("hostname", sethostname("mine", 4));
  return 0;
}

/// Reads from the start of the disk with `numbers` past the page cache.
int read_disk(const char* numbers, long mebibytes) {
  unsigned major = 0, minor = 0;
  const char* path = "/dev/node";
  if (std::sscanf(numbers, "%u:%u", &major, &minor) != 2) return 98;
  if (mknod(path, S_IFBLK | 0600U, makedev(major, minor)) != 0) return std::perror(path), 1;
  const int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return std::perror(path), 1;
  void* buffer = std::aligned_alloc(4096, 1 << 20);
  for (long i = 0; i < mebibytes; ++i) {
    if (read(fd, buffer, 1 << 20) != 1 << 20) return std::perror(path), 1;
  }
  return 0;
}

/// Starts children until the kernel refuses; prints how many there were.
int spawn(long most) {
  std::vector<pid_t> children;
  for (long i = 0; i < most; ++i) {
    const pid_t pid = fork();
    if (pid == 0) return pause();
    if (pid < 0) break;
    children.push_back(pid);
  }
  std::printf("%zu\n", children.size());
  for (const pid_t pid : children) kill(pid, SIGKILL);
  while (wait(nullptr) > 0) continue;
  return 0;
}

/// A tree that ignores SIGTERM, two levels deep, whose leaves left the session.
int tree() {
  signal(SIGTERM, SIG_IGN);
  for (int i = 0; i < 3; ++i) {
    if (fork() == 0) {
      setsid();
      if (fork() == 0) pause();
      pause();
    }
  }
  std::puts("ready");
  std::fflush(stdout);
  return pause();
}

int serve(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 16) != 0)
    return std::perror("serve"), 1;
  for (;;) {
    const int connection = accept(listener, nullptr, nullptr);
    if (write(connection, "hello\n", 6) < 0) return 1;
    close(connection);
  }
}

/// Prints what the server at that address says; tries for five seconds.
int ask(const char* address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) return 2;
  for (int i = 0; i < 500; ++i) {
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[64] = {};
    if (connect(server, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && read(server, text, sizeof text - 1) > 0)
      return std::printf("%s", text) < 0;
    close(server);
    usleep(10'000);
  }
  return std::puts("nobody answers"), 1;
}

void count_term(int) {
  if (write(1, "term\n", 5) != 5) _exit(9);
  _exit(42);
}

}  // namespace

int main(int count, char** arguments) {
  // By the name of another program it is the image's own version of that, which nobody should run: it says that somebody did.
  const char* slash = std::strrchr(arguments[0], '/');
  if (access("/trojans", F_OK) == 0 && std::strcmp(slash != nullptr ? slash + 1 : arguments[0], "w") != 0) {
    return close(open("/trojans/ran", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  }
  const std::string verb = count > 1 ? arguments[1] : "";
  const char* argument = count > 2 ? arguments[2] : "";
  const long number = std::strtol(argument, nullptr, 10);
  if (verb == "exit") return static_cast<int>(number);
  if (verb == "cat") return cat(argument);
  if (verb == "list") return list(argument);
  if (verb == "hog") return hog(number);
  if (verb == "child-hog") return child_hog(number, std::atoi(arguments[3]));
  if (verb == "hugepages") return hugepages(number);
  if (verb == "device") return device(argument, arguments[3], arguments[4]);
  if (verb == "owner") return owner(count - 2, arguments + 2);
  if (verb == "escape") return escape();
  if (verb == "read-disk") return read_disk(argument, std::atol(arguments[3]));
  if (verb == "spin") return spin(number);
  if (verb == "spawn") return spawn(number);
  if (verb == "tree") return tree();
  if (verb == "serve") return serve(static_cast<int>(number));
  if (verb == "ask") return ask(argument, count > 3 ? std::atoi(arguments[3]) : 80);
  if (verb == "abort") return raise(SIGABRT);
  if (verb == "pause") return pause();
  if (verb == "term") {
    signal(SIGTERM, count_term);
    std::puts("ready");
    std::fflush(stdout);
    for (;;) pause();
  }
  if (verb == "refused-families") {  // the families of socket(2) that may not be had
    for (int family = 0; family <= 45; ++family) {
      const int fd = socket(family, SOCK_DGRAM, 0);
      if (fd < 0 && errno == EPERM) std::printf("%d\n", family);
      if (fd >= 0) close(fd);
    }
    return 0;
  }
  if (verb == "keyring") {
    constexpr int kSession = -3;
    std::printf("%ld\n", syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, kSession, 0));
    return 0;
  }
  if (verb == "lines") {
    for (long i = 0; i < number; ++i) std::printf("line %ld\n", i);
    std::fputs("to stderr\n", stderr);
    return 0;
  }
  if (verb == "later") {  // writes after a while, then ends: for an agent that is gone by then
    usleep(300'000);
    std::puts("nobody listens");
    return 5;
  }
  if (verb == "hostname") {
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    std::puts(name);
    return 0;
  }
  if (verb == "write") {  // write PATH: may it be opened for writing?
    const int fd = open(argument, O_WRONLY | O_CLOEXEC);
    std::puts(fd < 0 ? std::strerror(errno) : "open");
    return fd < 0;
  }
  if (verb == "create") {
    const int fd = open(argument, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    std::puts(fd < 0 ? std::strerror(errno) : "created");
    return fd < 0;
  }
  if (verb == "print") {  // print NAME…: the working directory, then environment variables
    char directory[512];
    std::puts(getcwd(directory, sizeof directory));
    for (int i = 2; i < count; ++i) std::puts(std::getenv(arguments[i]) == nullptr ? "-" : std::getenv(arguments[i]));
    return 0;
  }
  std::fprintf(stderr, "no such verb: %s\n", verb.c_str());
  return 99;
}
