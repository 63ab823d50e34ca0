// SPDX-License-Identifier: 0BSD

import Foundation

/// A monotonic clock in nanoseconds that stands still while the device sleeps.
public enum BenchClock {
    #if canImport(Darwin)
        public static let name = "CLOCK_UPTIME_RAW"

        @inline(__always)
        public static func now() -> Int64 { Int64(clock_gettime_nsec_np(CLOCK_UPTIME_RAW)) }
    #else
        public static let name = "CLOCK_MONOTONIC"

        @inline(__always)
        public static func now() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
    #endif
}
