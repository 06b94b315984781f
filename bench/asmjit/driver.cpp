// Replays an allocation trace on asmjit's JitAllocator and prints what `jit-allocator replay --json` prints.
//
//   driver TRACE [--rounds N] [--[no-]use-dual-mapping] [--[no-]use-multiple-pools] [--[no-]fill-unused-memory]
//          [--[no-]immediate-release] [--block-size N] [--granularity N] [--fill-pattern N]
//   driver --lifecycle N [allocator options]
//   driver TRACE --threads N [--rounds N] [allocator options]
//
// The second form prints the nanoseconds it takes to make an allocator, allocate 300 B and destroy it: the mean of
// N times. The third has N threads replay the trace at once, each with places of its own, on one allocator, and
// prints the milliseconds of the best round, from when all of them start to when the last one is done.
//
// TRACE is plain text (the runner gunzips). An option left out has asmjit's own default, which is a single
// mapping; the runner always says which mapping it wants, so that both sides do the same work.
//
// What makes the comparison fair:
//  - the trace is parsed to flat arrays, ids renamed to dense slots, before the first clock is read;
//  - the clock is read at the ends of a phase only, never per operation, and around nothing but the calls;
//  - every round has a fresh allocator, made and destroyed outside the timed part;
//  - peaks come from one more round that is not timed. Reserved and used bytes grow in alloc() alone, so their
//    peak stands at the last of a run of allocations: reading the statistics there, and nowhere else, is exact.

#include <asmjit/asmjit.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

enum Kind : uint8_t { kAlloc, kRelease, kShrink, kQuery };

struct Phase {
  std::string name;
  size_t start;
  size_t end;
};

struct Trace {
  std::vector<uint8_t> kinds;
  std::vector<uint32_t> slots;
  std::vector<uint32_t> sizes;
  std::vector<Phase> phases;
  size_t slotCount = 0;
};

struct Peak {
  size_t reserved = 0;
  size_t used = 0;
  size_t overhead = 0;
};

[[noreturn]] void fail(const char* what, size_t number) {
  std::fprintf(stderr, "driver: %s %zu\n", what, number);
  std::exit(1);
}

// The runner has had the trace checked by `jit-allocator replay` already: this only refuses what it cannot read.
Trace parse(const std::string& text) {
  Trace trace;
  std::unordered_map<uint64_t, uint32_t> slotOf;
  std::string phaseName = "all";
  size_t phaseStart = 0;
  size_t line = 0;

  auto closePhase = [&](bool named) {
    if (named || trace.kinds.size() > phaseStart)
      trace.phases.push_back({phaseName, phaseStart, trace.kinds.size()});
    phaseStart = trace.kinds.size();
  };
  bool named = false;

  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    size_t next = end + 1;
    if (end > at && text[end - 1] == '\r') end--;
    line++;

    if (end > at && text[at] != '#') {
      char letter = text[at];
      if (end - at < 3 || text[at + 1] != ' ') fail("cannot read line", line);
      if (letter == 'p') {
        closePhase(named);
        phaseName = text.substr(at + 2, end - at - 2);
        named = true;
      } else {
        const char* from = text.c_str() + at + 2;
        char* to = nullptr;
        uint64_t id = std::strtoull(from, &to, 10);
        if (to == from) fail("cannot read line", line);
        uint64_t size = 0;
        if (letter == 'a' || letter == 's') {
          from = to;
          size = std::strtoull(from, &to, 10);
          if (to == from) fail("cannot read line", line);
        }
        uint8_t kind = letter == 'a' ? kAlloc : letter == 'f' ? kRelease : letter == 's' ? kShrink : kQuery;
        if (kind == kQuery && letter != 'q') fail("cannot read line", line);
        auto slot = slotOf.emplace(id, uint32_t(slotOf.size())).first->second;
        trace.kinds.push_back(kind);
        trace.slots.push_back(slot);
        trace.sizes.push_back(uint32_t(size));
      }
    }
    at = next;
  }
  closePhase(named);
  trace.slotCount = slotOf.size();
  return trace;
}

// One operation. asmjit answers a wrong one with an error code; a replay that goes on after one measures nothing.
inline void step(asmjit::JitAllocator& allocator, const Trace& trace, void** addresses, size_t i) {
  void* rw;
  uint32_t slot = trace.slots[i];
  asmjit::Error error;
  switch (trace.kinds[i]) {
    case kAlloc:
      error = allocator.alloc(&addresses[slot], &rw, trace.sizes[i]);
      break;
    case kRelease:
      error = allocator.release(addresses[slot]);
      break;
    case kShrink:
      error = allocator.shrink(addresses[slot], trace.sizes[i]);
      break;
    default: {
      void* rx;
      size_t size;
      error = allocator.query(addresses[slot], &rx, &rw, &size);
      break;
    }
  }
  if (error) fail("asmjit refused operation", i);
}

std::vector<double> timeRound(const asmjit::JitAllocator::CreateParams& params, const Trace& trace,
                              std::vector<void*>& addresses) {
  using Clock = std::chrono::steady_clock;
  asmjit::JitAllocator allocator(&params);
  std::vector<double> nanoseconds(trace.phases.size());
  for (size_t p = 0; p < trace.phases.size(); p++) {
    size_t end = trace.phases[p].end;
    auto before = Clock::now();
    for (size_t i = trace.phases[p].start; i < end; i++) step(allocator, trace, addresses.data(), i);
    nanoseconds[p] = std::chrono::duration<double, std::nano>(Clock::now() - before).count();
  }
  return nanoseconds;
}

Peak measurePeak(const asmjit::JitAllocator::CreateParams& params, const Trace& trace,
                 std::vector<void*>& addresses) {
  asmjit::JitAllocator allocator(&params);
  Peak peak;
  size_t count = trace.kinds.size();
  for (size_t i = 0; i < count; i++) {
    step(allocator, trace, addresses.data(), i);
    if (trace.kinds[i] != kAlloc || (i + 1 < count && trace.kinds[i + 1] == kAlloc)) continue;
    auto now = allocator.statistics();
    if (now.usedSize() > peak.used) peak.used = now.usedSize();
    if (now.reservedSize() > peak.reserved) {
      peak.reserved = now.reservedSize();
      peak.overhead = now.overheadSize();
    } else if (now.reservedSize() == peak.reserved && now.overheadSize() > peak.overhead) {
      peak.overhead = now.overheadSize();
    }
  }
  return peak;
}

double timeLifecycle(const asmjit::JitAllocator::CreateParams& params, size_t count) {
  using Clock = std::chrono::steady_clock;
  auto before = Clock::now();
  for (size_t i = 0; i < count; i++) {
    asmjit::JitAllocator allocator(&params);
    void* rx;
    void* rw;
    if (allocator.alloc(&rx, &rw, 300)) fail("asmjit refused allocation", i);
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - before).count() / double(count);
}

double timeThreads(const asmjit::JitAllocator::CreateParams& params, const Trace& trace, size_t count) {
  using Clock = std::chrono::steady_clock;
  asmjit::JitAllocator allocator(&params);
  std::atomic<size_t> waiting{0};
  std::atomic<bool> open{false};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < count; t++) {
    threads.emplace_back([&] {
      std::vector<void*> addresses(trace.slotCount);
      waiting++;
      while (!open) std::this_thread::yield();
      for (size_t i = 0; i < trace.kinds.size(); i++) step(allocator, trace, addresses.data(), i);
    });
  }
  while (waiting != count) std::this_thread::yield();
  auto before = Clock::now();
  open = true;
  for (auto& thread : threads) thread.join();
  return std::chrono::duration<double, std::milli>(Clock::now() - before).count();
}

// The name as a JSON string: the runner's names are plain, but a file may say anything.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += char(c);
    } else if (c < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += char(c);
    }
  }
  return out + "\"";
}

}  // namespace

int main(int argc, char** argv) {
  using asmjit::JitAllocatorOptions;
  if (argc == 2 && !std::strcmp(argv[1], "--version")) {
    std::printf("%u.%u.%u\n", ASMJIT_LIBRARY_VERSION >> 16, (ASMJIT_LIBRARY_VERSION >> 8) & 0xFF,
                ASMJIT_LIBRARY_VERSION & 0xFF);
    return 0;
  }

  const char* path = nullptr;
  size_t rounds = 1;
  size_t lifecycles = 0;
  size_t threads = 0;
  asmjit::JitAllocator::CreateParams params{};
  const struct {
    const char* name;
    JitAllocatorOptions option;
  } switches[] = {
      {"use-dual-mapping", JitAllocatorOptions::kUseDualMapping},
      {"use-multiple-pools", JitAllocatorOptions::kUseMultiplePools},
      {"fill-unused-memory", JitAllocatorOptions::kFillUnusedMemory},
      {"immediate-release", JitAllocatorOptions::kImmediateRelease},
  };
  for (int i = 1; i < argc; i++) {
    std::string word = argv[i];
    if (word.compare(0, 2, "--") != 0) {
      path = argv[i];
      continue;
    }
    std::string name = word.substr(2);
    bool on = name.compare(0, 3, "no-") != 0;
    if (!on) name = name.substr(3);
    bool known = false;
    for (const auto& entry : switches) {
      if (name != entry.name) continue;
      known = true;
      if (on) params.options |= entry.option;
      else params.options &= ~entry.option;
    }
    if (known) continue;
    if (i + 1 >= argc) fail("no value for the argument at", size_t(i));
    uint64_t value = std::strtoull(argv[++i], nullptr, 0);
    if (name == "rounds") rounds = size_t(value);
    else if (name == "lifecycle") lifecycles = size_t(value);
    else if (name == "threads") threads = size_t(value);
    else if (name == "block-size") params.blockSize = uint32_t(value);
    else if (name == "granularity") params.granularity = uint32_t(value);
    else if (name == "fill-pattern") {
      params.fillPattern = uint32_t(value);
      params.options |= JitAllocatorOptions::kCustomFillPattern;
    } else fail("unknown option, argument", size_t(i - 1));
  }
  if (lifecycles) {
    std::printf("%.1f\n", timeLifecycle(params, lifecycles));
    return 0;
  }
  if (!path || rounds == 0) {
    std::fprintf(stderr, "usage: driver TRACE [--rounds N] [allocator options]\n");
    return 2;
  }

  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "driver: cannot open %s\n", path);
    return 1;
  }
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Trace trace = parse(text);
  std::vector<void*> addresses(trace.slotCount);

  if (threads) {
    double bestMs = 0;
    for (size_t round = 0; round < rounds; round++) {
      double ms = timeThreads(params, trace, threads);
      if (round == 0 || ms < bestMs) bestMs = ms;
    }
    std::printf("%.6f\n", bestMs);
    return 0;
  }

  std::vector<double> best;
  double bestTotal = 0;
  for (size_t round = 0; round < rounds; round++) {
    std::vector<double> nanoseconds = timeRound(params, trace, addresses);
    double total = 0;
    for (double ns : nanoseconds) total += ns;
    if (round == 0 || total < bestTotal) {
      best = nanoseconds;
      bestTotal = total;
    }
  }
  const Peak peak = measurePeak(params, trace, addresses);

  std::printf("{\"total_ms\":%.6f,\"peak_reserved\":%zu,\"peak_used\":%zu,\"overhead\":%zu,\"phases\":[",
              bestTotal / 1e6, peak.reserved, peak.used, peak.overhead);
  for (size_t p = 0; p < trace.phases.size(); p++) {
    size_t n = trace.phases[p].end - trace.phases[p].start;
    std::printf("%s{\"name\":%s,\"n\":%zu,\"ns\":%.3f}", p ? "," : "", quoted(trace.phases[p].name).c_str(), n,
                n ? best[p] / double(n) : 0.0);
  }
  std::printf("]}\n");
  return 0;
}
