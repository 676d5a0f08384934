// SPDX-License-Identifier: Apache-2.0
#include "image/cpio.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string_view>

#include "core/error.h"

namespace tare::image {
namespace {

struct FreeArchive {
  void operator()(archive* a) const noexcept { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const noexcept { archive_entry_free(e); }
};
using Writer = std::unique_ptr<archive, FreeArchive>;
using Entry = std::unique_ptr<archive_entry, FreeEntry>;

la_ssize_t append(archive*, void* text, const void* bytes, std::size_t size) {
  static_cast<std::string*>(text)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

void check(int status, archive* a, std::string_view doing) {
  if (status == ARCHIVE_OK) return;
  const char* why = archive_error_string(a);
  throw Error(Code::internal, "initramfs archive: " + std::string(doing) + ": " + (why != nullptr ? why : "unknown error"));
}

unsigned file_type(CpioEntry::Kind kind) {
  switch (kind) {
    case CpioEntry::Kind::directory: return AE_IFDIR;
    case CpioEntry::Kind::file: return AE_IFREG;
    case CpioEntry::Kind::character_device: return AE_IFCHR;
  }
  return AE_IFREG;
}

Entry header_of(const CpioEntry& from, std::int64_t number) {
  Entry entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), from.path.c_str());
  archive_entry_set_filetype(entry.get(), file_type(from.kind));
  archive_entry_set_perm(entry.get(), from.mode);
  archive_entry_set_uid(entry.get(), 0);
  archive_entry_set_gid(entry.get(), 0);
  archive_entry_set_mtime(entry.get(), 0, 0);
  archive_entry_set_ino64(entry.get(), number);
  archive_entry_set_nlink(entry.get(), 1);  // more than one would make the kernel look for hard links
  archive_entry_set_size(entry.get(), from.kind == CpioEntry::Kind::file ? static_cast<la_int64_t>(from.content.size()) : 0);
  if (from.kind == CpioEntry::Kind::character_device) {
    archive_entry_set_rdevmajor(entry.get(), from.major);
    archive_entry_set_rdevminor(entry.get(), from.minor);
  }
  return entry;
}

}  // namespace

std::string cpio(const std::vector<CpioEntry>& entries) {
  std::string text;
  const Writer writer(archive_write_new());
  archive* a = writer.get();
  check(archive_write_set_format_cpio_newc(a), a, "format");
  check(archive_write_add_filter_none(a), a, "filter");
  check(archive_write_open(a, &text, nullptr, append, nullptr), a, "open");
  std::int64_t number = 0;
  for (const CpioEntry& from : entries) {
    const Entry entry = header_of(from, ++number);
    check(archive_write_header(a, entry.get()), a, from.path);
    if (from.kind != CpioEntry::Kind::file || from.content.empty()) continue;
    const la_ssize_t written = archive_write_data(a, from.content.data(), from.content.size());
    if (written != static_cast<la_ssize_t>(from.content.size())) check(ARCHIVE_FATAL, a, from.path);
  }
  check(archive_write_close(a), a, "close");
  return text;
}

}  // namespace tare::image
