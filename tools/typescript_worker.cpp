// The node process, its program and its limits.
#include "typescript_worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "child_socket.hpp"
#include "expert/json/json.hpp"

namespace cli {
namespace {

constexpr std::chrono::seconds start_time{60};  // loading the compiler takes one where nothing else runs
constexpr std::size_t max_text = std::size_t{1} << 20;
constexpr std::int64_t max_answer = std::int64_t{1} << 20;

// Answers each message with a JSON text; the first message goes out by itself and has the compiler's version. What the
// parser lets pass but the checker calls an error of syntax (TS1xxx: a break outside of a loop, an await where none may
// be; TS5076: ?? beside ||) counts as well, but for a few that are about names and types.
constexpr const char* program = R"js(
'use strict';
const fs = require('fs');
let ts;
for (const path of ['/usr/share/nodejs/typescript', '/usr/lib/nodejs/typescript', 'typescript'])
  try { ts = require(path); break; } catch (error) { if (error.code !== 'MODULE_NOT_FOUND') throw error; }
function read(size) {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size;) {
    const got = fs.readSync(0, bytes, at, size - at, null);
    if (got === 0) process.exit(0);
    at += got;
  }
  return bytes;
}
function write(value) {
  const text = Buffer.from(JSON.stringify(value)), all = Buffer.alloc(8 + text.length);
  all.writeBigUInt64LE(BigInt(text.length));
  text.copy(all, 8);
  for (let at = 0; at < all.length;) at += fs.writeSync(1, all, at);
}
const name = 'answer.ts';
const options = ts && {noLib: true, noResolve: true, types: [], target: ts.ScriptTarget.ESNext,
                       module: ts.ModuleKind.ESNext, experimentalDecorators: true};
// Any file is a module: await may stand at the top.
const source = ts && {languageVersion: ts.ScriptTarget.ESNext,
                      setExternalModuleIndicator: file => { file.externalModuleIndicator ||= true; }};
function firstError(text) {
  const file = ts.createSourceFile(name, text, source, true, ts.ScriptKind.TS);
  const host = {
    getSourceFile: asked => asked === name ? file : undefined, fileExists: asked => asked === name,
    readFile: () => undefined, writeFile: () => {}, getDefaultLibFileName: () => 'lib.d.ts',
    getCurrentDirectory: () => '/', getCanonicalFileName: asked => asked, useCaseSensitiveFileNames: () => true,
    getNewLine: () => '\n'};
  const compiled = ts.createProgram([name], options, host);
  const parsed = compiled.getSyntacticDiagnostics(file);
  const all = parsed.length > 0 ? parsed : compiled.getSemanticDiagnostics(file);
  const ofSyntax = code => code >= 1000 && code < 2000 && ![1225, 1229, 1230, 1345, 1361, 1362].includes(code) || code === 5076;
  return all.find(d => d.category === ts.DiagnosticCategory.Error && ofSyntax(d.code));
}
write(ts ? {version: ts.version} : {});
while (ts) {
  const text = read(Number(read(8).readBigUInt64LE())).toString('utf8');
  let answer = {valid: true, message: '', offset: 0};
  try {
    const error = firstError(text);
    if (error)
      answer = {valid: false, message: 'TS' + error.code + ': ' + ts.flattenDiagnosticMessageText(error.messageText, ' '),
                offset: Buffer.byteLength(text.slice(0, error.start || 0))};
  } catch (error) {
    answer = {valid: false, message: error instanceof RangeError ? 'the text nests too deeply' : String(error), offset: 0};
  }
  write(answer);
}
)js";

// The child's environment: no variable of the caller's reaches node.
std::string search_path() {
  const char* path = std::getenv("PATH");
  return std::string("PATH=") + (path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
}

[[noreturn]] void become_node(int socket, pid_t parent, const std::string& path) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const int nowhere = open("/dev/null", O_RDWR);
  if (nowhere < 0 || dup2(socket, 0) < 0 || dup2(socket, 1) < 0 || dup2(nowhere, 2) < 0) _exit(1);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  std::string variable = path;
  std::array<char*, 2> environment{variable.data(), nullptr};
  for (const char* node : {"node", "nodejs"}) {
    const std::array<const char*, 6> arguments{node,   "--max-old-space-size=512", "--stack-size=900", "-e", program,
                                               nullptr};
    execvpe(node, const_cast<char* const*>(arguments.data()), environment.data());
  }
  _exit(127);
}

[[noreturn]] void absent(std::string got) {
  throw expert::Error(no_typescript, {.expected = "node and its module typescript",
                                      .got = std::move(got),
                                      .fix = "On Debian or Ubuntu: apt-get install node-typescript; or use "
                                             "\"validation\": \"parser\" or \"none\""});
}

}  // namespace

void TypeScriptWorker::start() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) absent(std::strerror(errno));
  const std::string path = search_path();  // before fork(): the child allocates nothing that another thread may hold
  const pid_t parent = getpid();
  std::fflush(nullptr);
  child_ = fork();
  if (child_ == 0) become_node(pair[1], parent, path);
  close(pair[1]);
  socket_ = pair[0];
  if (child_ < 0) {
    close(socket_);
    absent(std::strerror(errno));
  }
  const timeval patience{.tv_sec = answer_time_.count(), .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  std::string hello;
  const char* why = receive_message(socket_, hello, Clock::now() + start_time);
  if (why == nullptr) {
    const expert::Json value = expert::parse_json(hello, "node", max_answer);
    if (const expert::Json* version = value.find("version")) version_ = version->as_string();
    if (version_.empty()) why = "node without the module typescript";
  } else if (std::string_view(why) == "the process died") {
    why = "no node, or one that ends at once";
  }
  if (why == nullptr) return;
  stop();
  absent(why);
}

void TypeScriptWorker::stop() {
  if (child_ < 0) return;
  close(socket_);
  kill(child_, SIGKILL);
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;
  child_ = -1;
}

std::optional<std::string> TypeScriptWorker::ask(const std::string& text) {
  if (child_ < 0) start();
  std::string answer;
  const char* why = "the process died";
  if (send_message(socket_, text)) why = receive_message(socket_, answer, Clock::now() + answer_time_);
  if (why == nullptr) return answer;
  why_ = why;
  stop();
  ++replaced_;
  return std::nullopt;
}

expert::SyntaxVerdict TypeScriptWorker::syntax(const std::string& text) {
  if (text.size() > max_text) return {false, "the text is longer than 1 MiB", 0};
  std::optional<std::string> answer = ask(text);
  if (!answer) answer = ask(text);  // it may have died of something else
  if (!answer) return {false, "TypeScript: " + why_ + ", twice", 0};
  try {
    const expert::Json value = expert::parse_json(*answer, "node", max_answer);
    const expert::Json *valid = value.find("valid"), *message = value.find("message"), *offset = value.find("offset");
    if (valid != nullptr && message != nullptr && offset != nullptr)
      return {valid->as_bool(), message->as_string(), static_cast<std::size_t>(offset->as_int())};
  } catch (const expert::Error&) {
  }
  stop();
  ++replaced_;
  return {false, "TypeScript: the process gave no answer", 0};
}

}  // namespace cli
