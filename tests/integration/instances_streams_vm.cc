// SPDX-License-Identifier: Apache-2.0
// `tare run`, `attach` and `exec` with stdin and terminals, of a virtual machine.
#include "tests/integration/instances_fixture.h"
#include "tests/integration/person.h"

namespace tare::test {
namespace {

using testing::HasSubstr;

class VmStreams : public VmInstancesTest {
 protected:
  std::vector<std::string> in_vm(std::vector<std::string> options, const std::string& script) const {
    options.insert(options.begin(), {"--backend", "vm"});
    return run(std::move(options), script);
  }
};

TEST_F(VmStreams, ATerminalIsTheWorkloadsAndOursIsGivenBack) {
  Person person(in_vm({"-it"}, "tty; stty size; trap 'echo caught' INT; read x; echo got $x; exit 5"), paths_);
  ASSERT_TRUE(person.sees("24 80")) << person.seen();
  EXPECT_THAT(person.seen(), HasSubstr("/dev/pts/0\r\n"));
  person.resize(33, 99);
  person.type("word\r");
  ASSERT_TRUE(person.sees("got word\r\n")) << person.seen();
  EXPECT_EQ(person.ends(), 5);
}

TEST_F(VmStreams, OneThatIsLeftIsComeBackTo) {
  const Census before = left();
  Person first(in_vm({"-it", "--name", "tt"}, "n=0; while read l; do n=$((n+1)); echo \"line $n: $l\"; done; exit 6"), paths_);
  first.type("one\r");
  ASSERT_TRUE(first.sees("line 1: one\r\n")) << first.seen();
  first.type("\x10\x11");
  EXPECT_EQ(first.ends(), 0);
  EXPECT_THAT(first.seen(), HasSubstr("tare attach"));
  Person second({"attach", "tt"}, paths_);
  second.type("two\r");
  ASSERT_TRUE(second.sees("line 2: two\r\n")) << second.seen();
  second.type("\x04");
  EXPECT_EQ(second.ends(), 6);
  EXPECT_THAT(tare({"logs", "tt"}).out, HasSubstr("line 1: one\r\n"));
  EXPECT_EQ(tare({"rm", "tt"}).status, 0);
  EXPECT_TRUE(eventually([&] { return left() == before; }));  // libvirt forgets a moment later
}

TEST_F(VmStreams, AShellBesideAWorkloadThatIsFedThroughAPipe) {
  ASSERT_EQ(tare(in_vm({"-d", "-i", "--name", "web", "--user", "5:6"}, "id -u; while read l; do echo \"got $l\"; done; exit 8")).status, 0);
  Person person({"exec", "-it", "-e", "PS1=> ", "-u", "0", "web", "sh"}, paths_);
  ASSERT_TRUE(person.sees("> ")) << person.seen();
  person.type("id -u; stty size\r");
  ASSERT_TRUE(person.sees("0\r\n24 80\r\n")) << person.seen();
  person.resize(12, 34);
  person.type("sleep 0.1; stty size\r");
  ASSERT_TRUE(person.sees("12 34\r\n")) << person.seen();
  person.type("sh -c 'echo beg\"\"an; exec sleep 1000'\r");
  ASSERT_TRUE(person.sees("began\r\n"));  // from then on the terminal is its own, control-C too
  person.type("\x03");
  person.type("exit 9\r");
  EXPECT_EQ(person.ends(), 9);

  const Fd line = open_file(dir_.path() / "line", O_RDWR | O_CREAT);
  write_all(line.get(), "one\n", "line");
  ::lseek(line.get(), 0, SEEK_SET);
  const Ended fed = begin({"attach", "web"}, line.get()).wait();
  EXPECT_EQ(fed.out, "got one\n") << fed.err;
  EXPECT_EQ(fed.status, 8);
  EXPECT_EQ(tare({"logs", "web"}).out, "5\ngot one\n");
}

}  // namespace
}  // namespace tare::test
