// What every generated simulator shares: memories with a time of their own, random numbers, archives, and the clock loop.
#pragma once
#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

namespace heddle {

enum Outcome : int { RUNNING, REACHED, CYCLES, HUNG, PROTOCOL, RANGE, INTERRUPT, FINISHED, STOPPED };

constexpr uint64_t NEVER = ~uint64_t{0};

// xorshift64*: one state per agent, so that binding another agent changes nobody's random numbers.
struct Random {
    uint64_t state = 1;
    void seed(uint64_t value) {
        state = (value + 1) * 0x9E3779B97F4A7C15ull;
        if (!state) state = 1;
    }
    uint64_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    // true with probability threshold / 2^32
    bool chance(uint64_t threshold) { return threshold && (next() >> 32) < threshold; }
    uint64_t below(uint64_t bound) { return bound ? next() % bound : 0; }
};

// Collects the state of a simulation as bytes.
struct Saver {
    std::vector<uint8_t> bytes;
    static constexpr bool loading = false;
    void raw(void* data, size_t size) {
        auto p = static_cast<uint8_t*>(data);
        bytes.insert(bytes.end(), p, p + size);
    }
};

// Sets the state of a simulation from bytes.
struct Loader {
    const uint8_t* at;
    const uint8_t* end;
    bool failed = false;
    static constexpr bool loading = true;
    void raw(void* data, size_t size) {
        if (size > size_t(end - at)) { failed = true; return; }
        memcpy(data, at, size);
        at += size;
    }
};

template <class Archive, class T> void archive(Archive& a, T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    a.raw(&value, sizeof value);
}
template <class Archive, class T> void archive(Archive& a, std::vector<T>& items) {
    uint64_t count = items.size();
    archive(a, count);
    if constexpr (Archive::loading) {
        if (a.failed || count > size_t(a.end - a.at) / sizeof(T)) { a.failed = true; return; }
        items.resize(count);
    }
    if (count) a.raw(items.data(), count * sizeof(T));
}

// A queue in one block of memory that grows as needed: what agents ask it every cycle is one load away.
template <class T> struct Queue {
    std::vector<T> ring = std::vector<T>(16);
    size_t head = 0, count = 0;
    bool empty() const { return count == 0; }
    size_t size() const { return count; }
    T& front() { return ring[head]; }
    const T& front() const { return ring[head]; }
    T& operator[](size_t i) { return ring[(head + i) & (ring.size() - 1)]; }
    void clear() { head = count = 0; }
    void pop_front() {
        head = (head + 1) & (ring.size() - 1);
        --count;
    }
    void push_back(const T& item) {
        if (count == ring.size()) {
            std::vector<T> wider(2 * count);
            for (size_t i = 0; i < count; ++i) wider[i] = (*this)[i];
            ring.swap(wider);
            head = 0;
        }
        (*this)[count++] = item;
    }
};
template <class Archive, class T> void archive(Archive& a, Queue<T>& items) {
    std::vector<T> flat;
    for (size_t i = 0; i < items.size(); ++i) flat.push_back(items[i]);
    archive(a, flat);
    if constexpr (Archive::loading) {
        items.clear();
        for (const T& item : flat) items.push_back(item);
    }
}

struct Fault { uint64_t low, high; };

// A memory behind one or more ports. `credit` is a token bucket in 1/65536 byte that all its ports draw on.
struct Memory {
    uint8_t* bytes = nullptr;
    uint64_t base = 0, size = 0;
    uint32_t latency = 1, outstanding = 8, jitter = 0;
    uint64_t stall = 0, rate = 0, seed = 0;
    std::vector<Fault> faults;

    uint64_t credit = 0, refilled = 0;
    bool turn = false;  // which direction goes first when there is bandwidth for one: false reads, true writes

    bool holds(uint64_t address, uint64_t count) const {
        return address >= base && count <= size && address - base <= size - count;
    }
    bool faulty(uint64_t address, uint64_t count) const {
        for (const Fault& f : faults)
            if (address < f.high && address + count > f.low) return true;
        return false;
    }
    uint8_t* at(uint64_t address) const { return bytes + (address - base); }
    void refill(uint64_t cycle, uint64_t beat) {
        if (!rate || cycle <= refilled) return;
        const uint64_t most = (rate > (beat << 16) ? rate : beat << 16) * 2;
        const uint64_t gained = (cycle - refilled) > (most / rate) ? most : (cycle - refilled) * rate;
        credit = credit + gained > most ? most : credit + gained;
        refilled = cycle;
    }
    bool affords(uint64_t count) const { return !rate || credit >= count << 16; }
    void spend(uint64_t count) { if (rate) credit -= count << 16; }
    template <class Archive> void state(Archive& a) {
        archive(a, credit);
        archive(a, refilled);
        archive(a, turn);
    }
};

// What went wrong, once: the first report of a cycle stands.
struct Report {
    Outcome outcome = RUNNING;
    char text[480] = {};
    void fail(Outcome what, const char* format, ...) {
        if (outcome != RUNNING) return;
        outcome = what;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
    }
};

// What agents see of the simulation that they serve.
struct World {
    uint64_t moved = 0;  // handshakes so far, on any bus
    Report report;
    bool resetting = true;
};

// How one bundle of ports is served. `cycle` counts the cycles of the agent's clock.
struct Binding {
    bool bound = false;
    int clock = 0;
    uint32_t latency = 1;
    uint64_t stall = 0;
    bool answer_errors = false, check = true;
    Memory* memory = nullptr;
};

// Reads or writes an integer of up to 64 bits in a port, whatever its container.
template <class T> uint64_t number(const T& port) {
    if constexpr (std::is_integral_v<T>) return port;
    else {
        uint64_t low = 0;
        memcpy(&low, &port, sizeof(T) < 8 ? sizeof(T) : 8);
        return low;
    }
}
template <class T> void assign(T& port, uint64_t value) {
    if constexpr (std::is_integral_v<T>) port = T(value);
    else {
        memset(&port, 0, sizeof port);
        memcpy(&port, &value, sizeof(T) < 8 ? sizeof(T) : 8);
    }
}

}  // namespace heddle
