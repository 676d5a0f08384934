// SPDX-License-Identifier: Apache-2.0
#include "vm/guest_kernel.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/files.h"

namespace tare::vm {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kModulesDep =
    "kernel/drivers/virtio/virtio_ring.ko:\n"
    "kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko "
    "kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/fs/9p/some-fs.ko:\n";

TEST(LoadOrder, PutsWhatAModuleNeedsBeforeIt) {
  EXPECT_THAT(
      load_order(kModulesDep, {"virtio_mmio"}),
      ElementsAre("kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_mmio.ko"));
}

TEST(LoadOrder, LoadsEachModuleOnce) {
  const auto order = load_order(kModulesDep, {"virtio_mmio", "virtio_net"});
  EXPECT_EQ(order.size(), 6U);
  EXPECT_EQ(order.back(), "kernel/drivers/net/virtio_net.ko");
}

TEST(LoadOrder, TakesDashAndUnderscoreForOne) { EXPECT_THAT(load_order(kModulesDep, {"some_fs"}), ElementsAre("kernel/fs/9p/some-fs.ko")); }

TEST(LoadOrder, LeavesOutWhatTheKernelDoesNotHaveAsAModule) { EXPECT_TRUE(load_order(kModulesDep, {"ext4"}).empty()); }

TEST(LoadOrder, IgnoresAModuleWhoseNameOnlyBeginsAlike) { EXPECT_TRUE(load_order(kModulesDep, {"virtio_m"}).empty()); }

std::string signed_module(const std::string& body, std::uint32_t length, const std::string& signature) {
  std::string info(12, '\0');
  for (int i = 0; i < 4; ++i) info[static_cast<std::size_t>(8 + i)] = static_cast<char>(length >> (24 - 8 * i));
  return body + signature + info + "~Module signature appended~\n";
}

TEST(ModuleSignature, IsCutOff) { EXPECT_EQ(without_signature(signed_module("ELFBODY", 5, "sig..")), "ELFBODY"); }
TEST(ModuleSignature, MayBeMissing) { EXPECT_EQ(without_signature("ELFBODY"), "ELFBODY"); }
TEST(ModuleSignature, ThatClaimsMoreThanTheFileIsLeftAlone) {
  const std::string module = signed_module("ELF", 5000, "");
  EXPECT_EQ(without_signature(module), module);
}

std::string word(std::uint32_t value) { return {reinterpret_cast<const char*>(&value), 4}; }

// A bzImage with one setup sector whose payload is `stream`.
std::string bzimage(const std::string& stream) {
  std::string image(1024, '\0');
  image[0x1f1] = 1;
  image.replace(0x202, 4, "HdrS");
  image.replace(0x248, 4, word(16));
  image.replace(0x24c, 4, word(static_cast<std::uint32_t>(stream.size())));
  return image + std::string(16, '\x90') + stream;
}

// LZ4 without compression: one block of literals shorter than 270 bytes.
std::string lz4_literals(const std::string& text) {
  std::string block(1, static_cast<char>(0xf0));
  block += static_cast<char>(text.size() - 15);
  block += text;
  return word(static_cast<std::uint32_t>(block.size())) + block;
}

const std::string kElf = "\177ELF" + std::string(60, 'k');

TEST(BzImage, GivesItsElfKernel) {
  const std::string stream = word(0x184c2102) + lz4_literals(kElf) + lz4_literals(kElf) + word(128);
  EXPECT_EQ(elf_of_bzimage(bzimage(stream)), kElf + kElf);
}

std::string refusal(const std::string& image) {
  try {
    elf_of_bzimage(image);
  } catch (const Error& error) {
    return error.code() == Code::unsuited ? error.sentence() : "another code";
  }
  return "accepted";
}

TEST(BzImage, ThatIsBrokenIsRefusedInWords) {
  EXPECT_THAT(refusal("not a kernel"), HasSubstr("is no bzImage"));
  EXPECT_THAT(refusal(bzimage(std::string("\x1f\x8b") + std::string(100, 'z'))), HasSubstr("not compressed with LZ4"));
  EXPECT_THAT(refusal(bzimage(word(0x184c2102) + lz4_literals(kElf) + word(500))), HasSubstr("cut short"));
  EXPECT_THAT(refusal(bzimage(word(0x184c2102) + lz4_literals(kElf) + word(0xffffffff))), HasSubstr("absurd size"));
  EXPECT_THAT(refusal(bzimage(word(0x184c2102) + word(40) + std::string(40, '\xff') + word(64))), HasSubstr("damaged"));
  EXPECT_THAT(refusal(bzimage(word(0x184c2102) + lz4_literals(std::string(64, 'x')) + word(64))), HasSubstr("no ELF"));
  std::string cut = bzimage(word(0x184c2102) + lz4_literals(kElf) + word(64));
  cut.resize(cut.size() - 10);
  EXPECT_THAT(refusal(cut), HasSubstr("cut short"));
}

TEST(ZeroTails, AreLeftToTheLoader) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_offset = sizeof header + sizeof segment;
  segment.p_filesz = segment.p_memsz = 100;
  std::string elf(reinterpret_cast<const char*>(&header), sizeof header);
  elf.append(reinterpret_cast<const char*>(&segment), sizeof segment);
  elf += "code" + std::string(96, '\0');
  const std::string trimmed = without_zero_tails(elf);
  std::memcpy(&segment, trimmed.data() + sizeof header, sizeof segment);
  EXPECT_EQ(segment.p_filesz, 4U);
  EXPECT_EQ(segment.p_memsz, 100U);
}

class FindKernel : public testing::Test {
 protected:
  void make(const fs::path& directory) {
    fs::create_directories(directory / "modules");
    write_file_atomic(directory / "vmlinuz", "x");
    write_file_atomic(directory / "modules" / "modules.dep", "");
  }
  FindKernel() { paths_.state = directory_.path() / "state"; }
  fs::path root() const { return directory_.path() / "root"; }
  TempDir directory_;
  Paths paths_;
};

TEST_F(FindKernel, TakesTheNewestReleaseByVersionNotByAlphabet) {
  make(paths_.kernels() / "6.1.0-9-cloud-amd64");
  make(paths_.kernels() / "6.1.0-56-cloud-amd64");
  EXPECT_EQ(find_kernel(paths_, {}, root()).release, "6.1.0-56-cloud-amd64");
}

TEST_F(FindKernel, PrefersTheConfiguredOne) {
  make(paths_.kernels() / "6.1.0-56-cloud-amd64");
  make(directory_.path() / "mine");
  EXPECT_EQ(find_kernel(paths_, directory_.path() / "mine", root()).release, "mine");
}

TEST_F(FindKernel, FallsBackToAnInstalledOneThatHasItsModules) {
  fs::create_directories(root() / "boot");
  write_file_atomic(root() / "boot" / "vmlinuz-6.1.0-5", "x");
  write_file_atomic(root() / "boot" / "vmlinuz-6.1.0-7", "x");
  fs::create_directories(root() / "lib/modules/6.1.0-5");
  write_file_atomic(root() / "lib/modules/6.1.0-5/modules.dep", "");
  EXPECT_EQ(find_kernel(paths_, {}, root()).release, "6.1.0-5");
}

TEST_F(FindKernel, ByItsReleaseWhereItAndItsModulesAre) {
  EXPECT_FALSE(kernel_named(paths_, "6.1.0-56-cloud-amd64", root()));
  make(paths_.kernels() / "6.1.0-56-cloud-amd64");
  EXPECT_EQ(kernel_named(paths_, "6.1.0-56-cloud-amd64", root())->vmlinuz, paths_.kernels() / "6.1.0-56-cloud-amd64" / "vmlinuz");
  fs::create_directories(root() / "boot");
  write_file_atomic(root() / "boot" / "vmlinuz-6.1.0-5", "x");
  EXPECT_FALSE(kernel_named(paths_, "6.1.0-5", root())) << "without its modules";
  fs::create_directories(root() / "lib/modules/6.1.0-5");
  write_file_atomic(root() / "lib/modules/6.1.0-5/modules.dep", "");
  EXPECT_EQ(kernel_named(paths_, "6.1.0-5", root())->release, "6.1.0-5");
}

TEST_F(FindKernel, SaysWhereItLookedWhenThereIsNone) {
  try {
    find_kernel(paths_, {}, root());
    FAIL() << "a kernel was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::unavailable);
    EXPECT_THAT(error.sentence(), HasSubstr(paths_.kernels().string()));
    EXPECT_THAT(error.hint(), HasSubstr("fetch-kernel.sh"));
  }
}

}  // namespace
}  // namespace tare::vm
