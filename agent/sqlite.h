// SPDX-License-Identifier: Apache-2.0
// SQLite's handles with owners, and its failures as Error. Private to the store; a connection belongs to one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tare::agent {

/// An open database.
class Connection {
 public:
  Connection(const std::filesystem::path& path, bool read_only) : path_(path.string()) {
    const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
    sqlite3* raw = nullptr;
    const int code = ::sqlite3_open_v2(path_.c_str(), &raw, flags, nullptr);
    db_.reset(raw);
    check(code);
    ::sqlite3_busy_timeout(raw, 10'000);  // another agent may hold the write lock for the time of a transaction
    run("PRAGMA cache_size=-512");        // KiB; the agent promises a small resident size
  }
  sqlite3* get() const { return db_.get(); }
  void run(const std::string& sql) { check(::sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr)); }
  void check(int code) const {
    if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return;
    const int primary = code & 0xff;
    const std::string why = db_ ? ::sqlite3_errmsg(db_.get()) : ::sqlite3_errstr(code);
    const std::string sentence = "database " + path_ + ": " + why;
    if (primary == SQLITE_FULL || primary == SQLITE_IOERR) throw Error(Code::exhausted, sentence, "make room on the disk that holds it");
    if (primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY || primary == SQLITE_PERM) {
      throw Error(Code::unsuited, sentence, "run as root, or set TARE_STATE_DIR to a directory that you may write");
    }
    if (primary == SQLITE_BUSY) throw Error(Code::timeout, sentence, "another program holds the database; try again");
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
      throw Error(Code::failed, sentence, "move the file away; tare makes a new one");
    throw Error(Code::internal, sentence);
  }

 private:
  struct Close {
    void operator()(sqlite3* db) const noexcept { ::sqlite3_close_v2(db); }
  };
  std::string path_;
  std::unique_ptr<sqlite3, Close> db_;
};

/// One prepared statement; values are bound in order, from 1.
class Statement {
 public:
  Statement(Connection& connection, std::string_view sql) : connection_(connection) {
    sqlite3_stmt* raw = nullptr;
    const int code = ::sqlite3_prepare_v2(connection.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
    statement_.reset(raw);
    connection.check(code);
  }
  Statement& bind(const std::string& text) {
    return bound(::sqlite3_bind_text(raw(), ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT));
  }
  Statement& bind(const char* text) { return bind(std::string(text)); }
  Statement& bind(std::int64_t number) { return bound(::sqlite3_bind_int64(raw(), ++bound_, number)); }
  Statement& bind(int number) { return bind(static_cast<std::int64_t>(number)); }
  Statement& bind(double number) { return bound(::sqlite3_bind_double(raw(), ++bound_, number)); }
  Statement& bind(const std::optional<double>& number) { return number ? bind(*number) : bound(::sqlite3_bind_null(raw(), ++bound_)); }
  /// True while there is a row.
  bool next() {
    const int code = ::sqlite3_step(raw());
    connection_.check(code);
    return code == SQLITE_ROW;
  }
  /// Executes it to the end and makes it ready for the next values.
  void finish() {
    while (next()) {
    }
    reset();
  }
  void reset() {
    ::sqlite3_reset(raw());
    bound_ = 0;
  }
  std::string text(int column) const {
    const auto* bytes = ::sqlite3_column_text(raw(), column);
    if (bytes == nullptr) return {};
    return {reinterpret_cast<const char*>(bytes),
            static_cast<std::size_t>(::sqlite3_column_bytes(raw(), column))};  // NOLINT: SQLite's type
  }
  std::int64_t number(int column) const { return ::sqlite3_column_int64(raw(), column); }
  int small(int column) const { return ::sqlite3_column_int(raw(), column); }
  std::optional<double> real(int column) const {
    if (null(column)) return std::nullopt;
    return ::sqlite3_column_double(raw(), column);
  }
  bool null(int column) const { return ::sqlite3_column_type(raw(), column) == SQLITE_NULL; }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { ::sqlite3_finalize(statement); }
  };
  sqlite3_stmt* raw() const { return statement_.get(); }
  Statement& bound(int code) {
    connection_.check(code);
    return *this;
  }
  Connection& connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};
/// All or nothing: rolled back unless committed.
class Transaction {
 public:
  explicit Transaction(Connection& connection) : connection_(connection) { connection.run("BEGIN IMMEDIATE"); }
  ~Transaction() {
    if (open_) ::sqlite3_exec(connection_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() {
    connection_.run("COMMIT");
    open_ = false;
  }

 private:
  Connection& connection_;
  bool open_ = true;
};

}  // namespace tare::agent
