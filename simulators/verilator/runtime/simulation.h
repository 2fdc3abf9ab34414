// The simulation of one design and its C interface. The generated file defines Top, Agents, CLOCKS and the port tables first.
#pragma once
#include <cstdlib>
#include <deque>
#include <limits>
#include <stdexcept>
#include <string>

#include "core.h"
#include "verilated.h"
#if HEDDLE_SAVABLE
#include "verilated_save.h"
#endif
#include "verilated_syms.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using Waves = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using Waves = VerilatedVcdC;
#endif
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

static thread_local std::string last_failure;  // the message of $error, $fatal or an assertion, until vl_stop takes it

extern "C" int heddle_print(const char* format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    std::string text(size_t(vsnprintf(nullptr, 0, format, again)), '\0');
    va_end(again);
    vsnprintf(text.data(), text.size() + 1, format, arguments);
    va_end(arguments);
    if (const size_t at = text.find("%Error: "); at != std::string::npos) {
        last_failure = text.substr(at + 8);
        while (!last_failure.empty() && last_failure.back() == '\n') last_failure.pop_back();
    } else {
        fputs(text.c_str(), stdout);
        fflush(stdout);
    }
    return int(text.size());
}

void vl_finish(const char*, int, const char*) { Verilated::threadContextp()->gotFinish(true); }
void vl_stop(const char* file, int line, const char*) {
    std::string text = last_failure.empty() ? std::string("$stop at ") + file + ":" + std::to_string(line) : last_failure;
    last_failure.clear();
    throw std::runtime_error(text);
}
void vl_fatal(const char* file, int line, const char*, const char* text) {
    throw std::runtime_error(std::string(text) + " (" + file + ":" + std::to_string(line) + ")");
}

namespace heddle {

// Which members an agent has, so that one C interface serves them all.
#define HEDDLE_HAS(member) \
    template <class T, class = void> struct has_##member : std::false_type {}; \
    template <class T> struct has_##member<T, std::void_t<decltype(std::declval<T&>().member)>> : std::true_type {};
HEDDLE_HAS(items)
HEDDLE_HAS(finished)
HEDDLE_HAS(transfers)
HEDDLE_HAS(unit)
#undef HEDDLE_HAS

#if HEDDLE_SAVABLE
struct SaveModel final : VerilatedSerialize {
    std::vector<uint8_t>& out;
    explicit SaveModel(std::vector<uint8_t>& bytes) : out(bytes) { m_isOpen = true; }
    ~SaveModel() override { flush(); }
    void flush() override {
        out.insert(out.end(), m_bufp, m_cp);
        m_cp = m_bufp;
    }
};
struct LoadModel final : VerilatedDeserialize {
    const uint8_t* at;
    const uint8_t* end;
    LoadModel(const uint8_t* from, size_t size) : at(from), end(from + size) { m_isOpen = true; m_endp = m_cp; }
    void fill() override {
        const size_t kept = m_endp - m_cp;
        memmove(m_bufp, m_cp, kept);
        const size_t room = bufferSize() - kept, more = room < size_t(end - at) ? room : size_t(end - at);
        memcpy(m_bufp + kept, at, more);
        at += more;
        m_cp = m_bufp;
        m_endp = m_bufp + kept + more;
    }
};

#endif

enum Test : uint32_t { EQUAL, DIFFERENT, AT_LEAST };
struct Condition {
    const void* address;
    uint64_t value;
    uint32_t bytes, test;
    uint64_t read() const {
        switch (bytes) {
            case 1: return *static_cast<const uint8_t*>(address);
            case 2: return *static_cast<const uint16_t*>(address);
            case 4: return *static_cast<const uint32_t*>(address);
            default: return *static_cast<const uint64_t*>(address);
        }
    }
    bool holds() const {
        const uint64_t now = read();
        return test == EQUAL ? now == value : test == DIFFERENT ? now != value : now >= value;
    }
};

// What a call of hd_run is asked for. `interrupts` and `progress` hold the last value seen in their `value`.
struct Request {
    uint64_t cycles, watchdog;
    const Condition* until;
    Condition* interrupts;
    Condition* progress;
    uint32_t interrupt_count, progress_count;
    int32_t interrupted;
    uint32_t clock;
};

struct Edge { uint64_t period, high, next_rise, next_fall; };

struct Simulation {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Top> top;
    World world;
    Agents agents;
    std::deque<Memory> memories;
    std::array<uint64_t, CLOCKS> cycles{};
    std::array<Edge, CLOCKS> edges{};
    uint64_t time = 0, moved_seen = 0, moved_at = 0;
    bool settling = false, dead = false;
#if VM_TRACE
    std::unique_ptr<Waves> waves;
#endif

    Simulation() {
#if VM_TRACE
        context->traceEverOn(true);
#endif
        context->randReset(0);
        top.reset(new Top{context.get()});
        int index = 0;
        for (const ClockShape& shape : CLOCK_SHAPES) edges[index++] = {shape.period, shape.period / 2, shape.phase, shape.phase + shape.period / 2};
        for (int i = 0; i < CLOCKS; ++i) set_clock(*top, i, false);
        for (int i = 0; i < RESETS; ++i) set_reset(*top, i, false);
        world.resetting = false;
        top->eval();  // the first evaluation, which also sets initial values
    }
    ~Simulation() {
#if VM_TRACE
        if (waves) waves->close();
#endif
        try { if (!dead) top->final(); } catch (const std::exception&) {}
    }

    // One evaluation of the model; in the fast profile without Verilator's housekeeping for threads and class objects,
    // which a tenth of the time would go to and which such a model does not need.
    void advance() {
#if HEDDLE_DIRECT
        Vdut___024root___eval(top->rootp);
#else
        top->eval();
#endif
    }
    void dump() {
#if VM_TRACE
        if (waves) waves->dump(time);
#endif
    }
    void drive(int clock) {
        agents.each([&](auto& agent) {
            if (agent.bound && (CLOCKS == 1 || agent.clock == clock)) agent.drive(*top, world, cycles[clock]);
        });
    }
    void sample(int clock) {
        agents.each([&](auto& agent) {
            if (agent.bound && (CLOCKS == 1 || agent.clock == clock)) agent.sample(*top, world, cycles[clock]);
        });
    }
    void evaluate() {
        context->time(time);
        advance();
        if (settling && agents.settle(*top, world)) advance();
    }

    // One period of the only clock: agents drive while it is low, look just before it rises.
    void period() {
        const Edge& edge = edges[0];
        drive(0);
        set_clock(*top, 0, false);
        evaluate();
        dump();
        sample(0);
        time += edge.high;
        set_clock(*top, 0, true);
        evaluate();
        dump();
        time += edge.period - edge.high;
        ++cycles[0];
    }
    // To the next edge of any of several clocks; agents look just before their clock rises and drive just after.
    void edge() {
        uint64_t now = NEVER;
        for (const Edge& e : edges) {
            if (e.next_rise < now) now = e.next_rise;
            if (e.next_fall < now) now = e.next_fall;
        }
        time = now;
        for (int i = 0; i < CLOCKS; ++i) {
            Edge& e = edges[i];
            if (e.next_rise == now) sample(i);
        }
        std::array<bool, CLOCKS> rose{};
        for (int i = 0; i < CLOCKS; ++i) {
            Edge& e = edges[i];
            if (e.next_rise == now) { rose[i] = true; set_clock(*top, i, true); e.next_rise += e.period; }
            if (e.next_fall == now) { set_clock(*top, i, false); e.next_fall += e.period; }
        }
        evaluate();
        bool any = false;
        for (int i = 0; i < CLOCKS; ++i)
            if (rose[i]) { ++cycles[i]; drive(i); any = true; }
        if (any) evaluate();
        dump();
    }
    void cycle(int clock) {
        if constexpr (CLOCKS == 1) period();
        else {
            const uint64_t target = cycles[clock] + 1;
            while (cycles[clock] < target) edge();
        }
    }

    void reset() {
        if (RESETS == 0) return;
        world.resetting = true;
        world.report = Report{};
        agents.each([](auto& agent) { agent.clear(); });
        for (int i = 0; i < RESETS; ++i) set_reset(*top, i, true);
        for (int i = 0; i < CLOCKS; ++i) drive(i);
        evaluate();
        int slowest = 0;
        for (int i = 1; i < CLOCKS; ++i) if (edges[i].period > edges[slowest].period) slowest = i;
        for (uint64_t n = 0; n < RESET_CYCLES; ++n) cycle(slowest);
        for (int i = 0; i < RESETS; ++i) set_reset(*top, i, false);
        world.resetting = false;
        if (CLOCKS > 1) { for (int i = 0; i < CLOCKS; ++i) drive(i); }
        evaluate();
        moved_at = cycles[0];
    }

    Outcome run(Request& request) {
        const int clock = int(request.clock);
        const uint64_t end = cycles[clock] + request.cycles;
        for (uint32_t i = 0; i < request.progress_count; ++i) request.progress[i].value = request.progress[i].read();
        for (uint32_t i = 0; i < request.interrupt_count; ++i) request.interrupts[i].value = request.interrupts[i].read();
        while (cycles[clock] < end) {
            cycle(clock);
            if (world.report.outcome != RUNNING) return world.report.outcome;
            if (context->gotFinish()) return FINISHED;
            if (request.until && request.until->holds()) return REACHED;
            for (uint32_t i = 0; i < request.interrupt_count; ++i) {
                const uint64_t was = request.interrupts[i].value, now = request.interrupts[i].read();
                request.interrupts[i].value = now;
                if (now && !was) { request.interrupted = int32_t(i); return INTERRUPT; }
            }
            if (!request.watchdog) continue;
            bool moved = world.moved != moved_seen;
            for (uint32_t i = 0; i < request.progress_count; ++i) {
                const uint64_t now = request.progress[i].read();
                moved |= now != request.progress[i].value;
                request.progress[i].value = now;
            }
            if (moved) { moved_seen = world.moved; moved_at = cycles[clock]; }
            else if (cycles[clock] - moved_at >= request.watchdog) return HUNG;
        }
        return CYCLES;
    }

    template <class Archive> void state(Archive& a) {
        archive(a, world.moved); archive(a, world.resetting); archive(a, cycles); archive(a, edges); archive(a, time);
        archive(a, moved_seen); archive(a, moved_at);
        for (Memory& memory : memories) memory.state(a);
        agents.each([&](auto& agent) { agent.state(a); });
    }

    // Runs `body`, and turns an exception of the model into the outcome STOPPED.
    template <class Body> Outcome guarded(Body body) {
        if (dead) return STOPPED;
        try {
            return body();
        } catch (const std::exception& problem) {
            world.report.outcome = RUNNING;
            world.report.fail(STOPPED, "%s, at cycle %llu", problem.what(), (unsigned long long)cycles[0]);
            dead = true;
            return STOPPED;
        }
    }
};

}  // namespace heddle

using heddle::Simulation;

// Calls `body` with the agent of that index.
template <class Body> static void with_agent(Simulation* s, int index, Body body) {
    int at = 0;
    s->agents.each([&](auto& agent) { if (at++ == index) body(agent); });
}

extern "C" {

Simulation* hd_new() {
    try { return new Simulation; } catch (const std::exception&) { return nullptr; }
}
void hd_free(Simulation* s) { delete s; }
void* hd_port(Simulation* s, int index) { return port_address(*s->top, index); }
const char* hd_report(Simulation* s) { return s->world.report.text; }
uint64_t hd_cycles(Simulation* s, int clock) { return s->cycles[clock]; }
uint64_t hd_time(Simulation* s) { return s->time; }
uint64_t* hd_moved(Simulation* s) { return &s->world.moved; }

int hd_memory(Simulation* s, uint8_t* bytes, uint64_t base, uint64_t size, uint32_t latency, uint32_t outstanding, uint32_t jitter,
              uint64_t stall, uint64_t rate, uint64_t seed) {
    heddle::Memory memory;
    memory.bytes = bytes; memory.base = base; memory.size = size; memory.latency = latency; memory.outstanding = outstanding;
    memory.jitter = jitter; memory.stall = stall; memory.rate = rate; memory.seed = seed;
    s->memories.push_back(memory);
    return int(s->memories.size()) - 1;
}
void hd_fault(Simulation* s, int memory, uint64_t low, uint64_t high) { s->memories[memory].faults.push_back({low, high}); }

void hd_bind(Simulation* s, int index, int memory, int clock, uint32_t latency, uint64_t stall, uint64_t seed, int answer_errors, int check,
             uint64_t unit) {
    with_agent(s, index, [&](auto& agent) {
        agent.bound = true;
        agent.clock = clock;
        agent.latency = latency;
        agent.stall = stall;
        agent.answer_errors = answer_errors;
        agent.check = check;
        agent.memory = memory < 0 ? nullptr : &s->memories[memory];
        agent.random.seed(seed * 1000003 + index);
        if constexpr (heddle::has_unit<std::decay_t<decltype(agent)>>::value) {
            agent.unit = unit;
            if (latency == 0) s->settling = true;
        }
    });
}

int hd_reset(Simulation* s) {
    return s->guarded([&] { s->reset(); return heddle::RUNNING; });
}
int hd_eval(Simulation* s) {
    return s->guarded([&] { s->evaluate(); return heddle::RUNNING; });
}
int hd_tick(Simulation* s, int clock, uint64_t count) {
    return s->guarded([&] {
        for (uint64_t n = 0; n < count && s->world.report.outcome == heddle::RUNNING; ++n) s->cycle(clock);
        return s->world.report.outcome;
    });
}
int hd_run(Simulation* s, heddle::Request* request) {
    return s->guarded([&] { return s->run(*request); });
}
// A run is resumed after an error that was reported.
void hd_forgive(Simulation* s) { if (!s->dead) s->world.report = heddle::Report{}; }
void hd_awake(Simulation* s, int clock) { s->moved_at = s->cycles[clock]; s->moved_seen = s->world.moved; }

void hd_describe(Simulation* s, int index, char* out, size_t size) {
    with_agent(s, index, [&](auto& agent) { agent.describe(*s->top, out, size); });
}
int hd_counters(Simulation* s, int index, uint64_t* out) {
    int count = 0;
    with_agent(s, index, [&](auto& agent) { count = agent.counters(out); });
    return count;
}
uint64_t* hd_transfers(Simulation* s, int index) {
    uint64_t* found = nullptr;
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_transfers<std::decay_t<decltype(agent)>>::value) found = &agent.transfers;
    });
    return found;
}

void hd_send(Simulation* s, int index, const uint8_t* data, size_t size) {
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_items<std::decay_t<decltype(agent)>>::value) agent.items.insert(agent.items.end(), data, data + size);
    });
}
size_t hd_held(Simulation* s, int index) {
    size_t size = 0;
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_items<std::decay_t<decltype(agent)>>::value) size = agent.items.size();
    });
    return size;
}
void hd_take(Simulation* s, int index, uint8_t* out, size_t size) {
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_items<std::decay_t<decltype(agent)>>::value) {
            memcpy(out, agent.items.data(), size);
            agent.items.erase(agent.items.begin(), agent.items.begin() + size);
        }
    });
}

void hd_access(Simulation* s, int index, const heddle::Access* access) {
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_finished<std::decay_t<decltype(agent)>>::value) agent.queue.push_back(*access);
    });
}
int hd_accessed(Simulation* s, int index, heddle::Access* access) {
    int done = 0;
    with_agent(s, index, [&](auto& agent) {
        if constexpr (heddle::has_finished<std::decay_t<decltype(agent)>>::value) {
            if (agent.finished.empty()) return;
            *access = agent.finished.front();
            agent.finished.pop_front();
            done = 1;
        }
    });
    return done;
}

uint8_t* hd_save(Simulation* s, size_t* size) {
#if HEDDLE_SAVABLE
    heddle::Saver saver;
    s->state(saver);
    { heddle::SaveModel model(saver.bytes); model << *s->top; }
    auto out = static_cast<uint8_t*>(malloc(saver.bytes.size()));
    if (out) memcpy(out, saver.bytes.data(), saver.bytes.size());
    *size = saver.bytes.size();
    return out;
#else
    (void)s; (void)size;
    return nullptr;
#endif
}
void hd_release(uint8_t* bytes) { free(bytes); }
int hd_load(Simulation* s, const uint8_t* bytes, size_t size) {
#if HEDDLE_SAVABLE
    heddle::Loader loader{bytes, bytes + size};
    s->state(loader);
    if (loader.failed) return 0;
    return s->guarded([&] {
        heddle::LoadModel model(loader.at, loader.end - loader.at);
        model >> *s->top;
        s->world.report = heddle::Report{};
        return heddle::REACHED;
    }) == heddle::REACHED;
#else
    (void)s; (void)bytes; (void)size;
    return 0;
#endif
}

int hd_trace(Simulation* s, const char* path) {
#if VM_TRACE
    if (s->waves) s->waves->close();
    s->waves.reset();
    if (!*path) return 1;
    s->waves.reset(new Waves);
    s->context->trace(s->waves.get(), 99);
    s->waves->open(path);
    if (!s->waves->isOpen()) { s->waves.reset(); return 0; }
    return 1;
#else
    (void)s; (void)path;
    return 0;
#endif
}
int hd_coverage(Simulation* s, const char* path) {
#if VM_COVERAGE
    s->context->coveragep()->write(path);
    return 1;
#else
    (void)s; (void)path;
    return 0;
#endif
}

// The signals that were made public, by index: their scope, name, address, packed width and array shape.
struct Internal { char scope[240], name[240]; void* address; uint32_t width, dimensions, shape[4]; };
int hd_internal(Simulation* s, int index, Internal* out) {
    int at = 0;
    for (const auto& scope : *s->context->scopeNameMap()) {
        const VerilatedVarNameMap* variables = scope.second->varsp();
        if (!variables) continue;
        for (const auto& entry : *variables) {
            if (at++ != index) continue;
            const VerilatedVar& variable = entry.second;
            snprintf(out->scope, sizeof out->scope, "%s", scope.first);
            snprintf(out->name, sizeof out->name, "%s", entry.first);
            out->address = variable.datap();
            out->width = variable.entBits();
            out->dimensions = variable.udims();
            for (int d = 0; d < variable.udims() && d < 4; ++d) out->shape[d] = variable.elements(1 + d);
            return 1;
        }
    }
    return 0;
}

}  // extern "C"
