// SPDX-License-Identifier: 0BSD

import Foundation

/// SHA-256 (FIPS 180-4), so that this package needs nothing but Foundation, on Linux as on iOS.
public struct Sha256 {
    private static let roundConstants: [UInt32] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ]
    private static let blockSize = 64

    private var state: [UInt32] = [
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    ]
    private var pending: [UInt8] = []
    private var length: UInt64 = 0
    private var schedule = [UInt32](repeating: 0, count: 64)

    public init() {}

    public mutating func update(_ bytes: some Sequence<UInt8>) {
        if bytes.withContiguousStorageIfAvailable({ absorb($0) }) == nil {
            Array(bytes).withUnsafeBufferPointer { absorb($0) }
        }
    }

    private mutating func absorb(_ bytes: UnsafeBufferPointer<UInt8>) {
        length += UInt64(bytes.count)
        var at = 0
        if !pending.isEmpty {
            at = min(Sha256.blockSize - pending.count, bytes.count)
            pending += bytes[..<at]
            guard pending.count == Sha256.blockSize else { return }
            let block = pending
            block.withUnsafeBufferPointer { compress($0, 0) }
            pending.removeAll(keepingCapacity: true)
        }
        while bytes.count - at >= Sha256.blockSize {
            compress(bytes, at)
            at += Sha256.blockSize
        }
        pending += bytes[at...]
    }

    /// The digest of everything so far, as 64 lower-case hex digits; more may follow.
    public func hex() -> String {
        var copy = self
        let bits = length * 8
        let zeros = (2 * Sha256.blockSize - 9 - pending.count) % Sha256.blockSize
        copy.update([0x80] + [UInt8](repeating: 0, count: zeros))
        copy.update((0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) })
        return copy.state.map { String(format: "%08x", $0) }.joined()
    }

    public static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var digest = Sha256()
        digest.update(bytes)
        return digest.hex()
    }

    private mutating func compress(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) {
        for index in 0..<16 {
            let at = start + index * 4
            let high = UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16
            schedule[index] = high | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
        }
        for index in 16..<64 {
            let (early, late) = (schedule[index - 15], schedule[index - 2])
            let first = rotated(early, 7) ^ rotated(early, 18) ^ (early >> 3)
            let second = rotated(late, 17) ^ rotated(late, 19) ^ (late >> 10)
            schedule[index] = schedule[index - 16] &+ first &+ schedule[index - 7] &+ second
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let choice = (e & f) ^ (~e & g)
            let first = h &+ sum1 &+ choice &+ Sha256.roundConstants[index] &+ schedule[index]
            let sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let majority = (a & b) ^ (a & c) ^ (b & c)
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ sum0 &+ majority)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] = state[index] &+ value }
    }

    private func rotated(_ value: UInt32, _ by: UInt32) -> UInt32 { value >> by | value << (32 - by) }
}

extension Sha256 {
    private static let chunkSize = 1 << 20

    /// The hash of a file's bytes, or of a folder's relative paths, sizes and bytes in sorted order, as palmtop counts it.
    ///
    /// In a folder every file adds its path (UTF-8, `/` between its parts), a zero byte, its size as eight
    /// little-endian bytes, and its content. Paths are sorted part by part, by Unicode code points.
    public static func of(file url: URL) throws -> String {
        var digest = Sha256()
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw BenchFailure("model_missing", "there is no \(url.lastPathComponent)")
        }
        if !isFolder.boolValue {
            try digest.update(file: url)
            return digest.hex()
        }
        let paths = try FileManager.default.subpathsOfDirectory(atPath: url.path).map { $0.split(separator: "/") }
        for parts in paths.sorted(by: precedes) {
            let path = parts.joined(separator: "/")
            let file = url.appendingPathComponent(path)
            guard FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder), !isFolder.boolValue else {
                continue
            }
            let size = try FileManager.default.attributesOfItem(atPath: file.path)[.size] as? UInt64 ?? 0
            digest.update(Array(path.utf8) + [0])
            digest.update((0..<8).map { UInt8(truncatingIfNeeded: size >> (8 * UInt64($0))) })
            try digest.update(file: file)
        }
        return digest.hex()
    }

    private static func precedes(_ left: [Substring], _ right: [Substring]) -> Bool {
        for (mine, other) in zip(left, right) where mine != other {
            return mine.unicodeScalars.lexicographicallyPrecedes(other.unicodeScalars)
        }
        return left.count < right.count
    }

    private mutating func update(file url: URL) throws {
        let handle = try FileHandle(forReadingFrom: url)
        defer { try? handle.close() }
        while let chunk = try handle.read(upToCount: Sha256.chunkSize), !chunk.isEmpty { update(chunk) }
    }
}

/// CRC-32 of IEEE 802.3, as zlib counts it.
public enum Crc32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 0 ? value >> 1 : 0xEDB8_8320 ^ (value >> 1) }
    }

    public static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ ($0 >> 8) }
    }
}
