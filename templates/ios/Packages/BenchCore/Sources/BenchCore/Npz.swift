// SPDX-License-Identifier: 0BSD

import Foundation

/// Golden samples as the host sends them: an `.npz` of `in/<input>` and `out/<output>`, first axis the sample.
///
/// Reads the uncompressed archives that `numpy.savez` writes (PKWARE APPNOTE 4.3; NPY format 1.0 to 3.0).
public enum Npz {
    static let bytesMax = 1 << 30

    public static func samples(_ url: URL) throws -> [GoldenSample] {
        let size = (try? FileManager.default.attributesOfItem(atPath: url.path)[.size] as? Int) ?? nil
        guard let size else { throw BenchFailure("check_failed", "there are no golden samples \(url.lastPathComponent)") }
        guard size <= bytesMax else { throw BenchFailure("check_failed", "the golden samples are larger than 1 GB") }
        return try samples(in: [UInt8](Data(contentsOf: url)))
    }

    static func samples(in bytes: [UInt8]) throws -> [GoldenSample] {
        var arrays: [String: Tensor] = [:]
        for entry in try entries(of: bytes) {
            guard entry.name.hasSuffix(".npy") else { throw damaged("\(entry.name) is no array") }
            arrays[String(entry.name.dropLast(4))] = try array(bytes[entry.content])
        }
        let counts = Set(arrays.values.map { $0.shape.first ?? 0 })
        guard let count = counts.first, counts.count == 1, count > 0 else {
            throw damaged("it holds no samples, or arrays with different numbers of them")
        }
        return try (0..<count).map { number in
            try GoldenSample(inputs: part("in/", arrays, number), outputs: part("out/", arrays, number))
        }
    }

    private static func part(_ prefix: String, _ arrays: [String: Tensor], _ number: Int) throws -> [String: Tensor] {
        var found: [String: Tensor] = [:]
        for (name, array) in arrays where name.hasPrefix(prefix) {
            let shape = Array(array.shape.dropFirst())
            let size = array.bytes.count / array.shape[0]
            let raw = Array(array.bytes[number * size..<(number + 1) * size])
            found[String(name.dropFirst(prefix.count))] = try Tensor(type: array.type, shape: shape, bytes: raw)
        }
        guard !found.isEmpty else { throw damaged("it holds no \(prefix)…") }
        return found
    }

    private struct Entry {
        let name: String
        let content: Range<Int>
    }

    /// Reads the central directory, whose sizes hold also where the local headers leave them to later records.
    private static func entries(of bytes: [UInt8]) throws -> [Entry] {
        let reader = Reader(bytes)
        guard let end = lastEnd(reader) else { throw damaged("it is no zip archive") }
        let count = try reader.whole(end + 10, 2)
        var at = try reader.whole(end + 16, 4)
        return try (0..<count).map { _ in
            guard try reader.whole(at, 4) == 0x0201_4B50 else { throw damaged("its directory is damaged") }
            let (method, packed, size) = try (reader.whole(at + 10, 2), reader.whole(at + 20, 4), reader.whole(at + 24, 4))
            let (nameSize, extra, comment) = try (reader.whole(at + 28, 2), reader.whole(at + 30, 2), reader.whole(at + 32, 2))
            guard method == 0, packed == size else { throw damaged("it is compressed; numpy.savez writes it plain") }
            let name = String(decoding: try reader.bytes(at + 46, nameSize), as: UTF8.self)
            let local = try reader.whole(at + 42, 4)
            let skipped = try reader.whole(local + 26, 2) + reader.whole(local + 28, 2)
            let start = local + 30 + skipped
            guard start + size <= bytes.count else { throw damaged("\(name) is cut short") }
            at += 46 + nameSize + extra + comment
            return Entry(name: name, content: start..<start + size)
        }
    }

    private static func lastEnd(_ reader: Reader) -> Int? {
        let last = reader.count - 22
        guard last >= 0 else { return nil }
        return (max(0, last - 0xFFFF)...last).last { (try? reader.whole($0, 4)) == 0x0605_4B50 }
    }

    private static func array(_ bytes: ArraySlice<UInt8>) throws -> Tensor {
        let reader = Reader(Array(bytes))
        guard try reader.bytes(0, 6) == Array("\u{93}NUMPY".unicodeScalars.map { UInt8($0.value) }) else {
            throw damaged("an array is no NPY file")
        }
        let wide = try reader.whole(6, 1) > 1
        let headerSize = try reader.whole(8, wide ? 4 : 2)
        let start = (wide ? 12 : 10) + headerSize
        let header = String(decoding: try reader.bytes(wide ? 12 : 10, headerSize), as: UTF8.self)
        guard let type = elementType(in: header), let shape = shape(in: header), header.contains("'fortran_order': False")
        else { throw damaged("an array has the header \(header.prefix(80))") }
        return try Tensor(type: type, shape: shape, bytes: reader.bytes(start, reader.count - start))
    }

    private static func elementType(in header: String) -> ElementType? {
        let words: [String: ElementType] = [
            "<f4": .float32, "<f2": .float16, "<f8": .float64, "|u1": .uint8, "|i1": .int8, "<u2": .uint16,
            "<i2": .int16, "<u4": .uint32, "<i4": .int32, "<u8": .uint64, "<i8": .int64, "|b1": .bool,
        ]
        guard let start = header.range(of: "'descr': '") else { return nil }
        return words[String(header[start.upperBound...].prefix { $0 != "'" })]
    }

    private static func shape(in header: String) -> [Int]? {
        guard let start = header.range(of: "'shape': (") else { return nil }
        let inside = header[start.upperBound...].prefix { $0 != ")" }
        let axes = inside.split(separator: ",").map { Int($0.trimmingCharacters(in: .whitespaces)) }
        return axes.contains(nil) ? nil : axes.compactMap { $0 }
    }

    private static func damaged(_ what: String) -> BenchFailure {
        BenchFailure("check_failed", "the golden samples cannot be read: \(what)")
    }

    private struct Reader {
        private let raw: [UInt8]

        init(_ raw: [UInt8]) { self.raw = raw }

        var count: Int { raw.count }

        func bytes(_ at: Int, _ size: Int) throws -> [UInt8] {
            guard at >= 0, size >= 0, at <= raw.count, size <= raw.count - at else { throw Npz.damaged("it is cut short") }
            return Array(raw[at..<at + size])
        }

        func whole(_ at: Int, _ size: Int) throws -> Int {
            try bytes(at, size).reversed().reduce(0) { $0 << 8 | Int($1) }
        }
    }
}
