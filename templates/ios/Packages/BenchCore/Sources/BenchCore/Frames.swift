// SPDX-License-Identifier: 0BSD

import Foundation

/// A record as short, numbered, checksummed ASCII lines that survive logs which cut, prefix, mix and repeat lines.
///
///     @PT1 <run> <seq> <i>/<n> <crc32> <payload>
public enum Frames {
    /// Characters of a payload: what every head leaves room for in a frame of 900.
    public static let payloadMax = 848
    public static let chunksMax = 64

    /// The frames of a record. A text longer than a payload goes as slices of its base64url.
    public static func encode(run: String, seq: Int, text: String) throws -> [String] {
        if text.utf8.count <= payloadMax { return [frame(run, seq, "1/1", text)] }
        let coded = Array(base64url(Data(text.utf8)))
        let starts = stride(from: 0, to: coded.count, by: payloadMax)
        let slices = starts.map { String(coded[$0..<min($0 + payloadMax, coded.count)]) }
        guard slices.count <= chunksMax else {
            throw BenchFailure("run_failed", "a record of \(text.utf8.count) characters is too long to send")
        }
        return slices.enumerated().map { frame(run, seq, "\($0.offset + 1)/\(slices.count)", $0.element) }
    }

    private static func frame(_ run: String, _ seq: Int, _ part: String, _ payload: String) -> String {
        let crc = Crc32.of("\(run) \(seq) \(part) \(payload)".utf8)
        return "@PT1 \(run) \(seq) \(part) \(String(format: "%08x", crc)) \(payload)"
    }

    static func base64url(_ data: Data) -> String {
        data.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
    }

    /// Takes base64url with or without its padding.
    static func data(base64url text: String) -> Data? {
        guard text.utf8.allSatisfy({ isBase64url($0) }) else { return nil }
        let bare = text.prefix { $0 != "=" }
        let plain = bare.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        return Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4))
    }

    private static func isBase64url(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F, 0x3D: true
        default: false
        }
    }
}
