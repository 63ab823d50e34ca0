// SPDX-License-Identifier: 0BSD

/// The element types that a model's tensors may have; the raw values are those of `model.json` and of NumPy.
public enum ElementType: String, Sendable, Codable, CaseIterable {
    case float32, float16, float64, uint8, int8, uint16, int16, uint32, int32, uint64, int64, bool

    public var byteCount: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .float16, .uint16, .int16: 2
        case .float32, .uint32, .int32: 4
        case .float64, .uint64, .int64: 8
        }
    }

    public var isFloat: Bool {
        switch self {
        case .float16, .float32, .float64: true
        default: false
        }
    }
}

/// Why a tensor, a model or a file cannot be used, in words for the person in front of the screen.
public struct BenchFailure: Error, Equatable, CustomStringConvertible {
    /// The word of the protocol for what failed, such as `load_failed`.
    public let code: String
    public let message: String

    public init(_ code: String, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}

/// A dense array in C order, little-endian.
public struct Tensor: Equatable, Sendable {
    public let type: ElementType
    public let shape: [Int]
    public let bytes: [UInt8]

    public init(type: ElementType, shape: [Int], bytes: [UInt8]) throws {
        guard let count = Tensor.count(of: shape), bytes.count == count * type.byteCount else {
            throw BenchFailure("bad_args", "\(bytes.count) bytes are no \(type.rawValue) tensor of shape \(shape)")
        }
        self.type = type
        self.shape = shape
        self.bytes = bytes
    }

    /// Rounds half to even and saturates where the type is an integer, as NumPy and the runtimes quantize.
    public init(_ values: [Float], type: ElementType = .float32, shape: [Int]) throws {
        try self.init(type: type, shape: shape, bytes: Tensor.encode(values, as: type))
    }

    public init(_ values: [Int64], type: ElementType, shape: [Int]) throws {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count * type.byteCount)
        if type.isFloat {
            bytes = Tensor.encode(values.map(Float.init), as: type)
        } else {
            for value in values {
                let bits = UInt64(bitPattern: value)
                for byte in 0..<type.byteCount { bytes.append(UInt8(truncatingIfNeeded: bits >> (8 * UInt64(byte)))) }
            }
        }
        try self.init(type: type, shape: shape, bytes: bytes)
    }

    public var count: Int { bytes.count / type.byteCount }

    /// The product of a shape, or nil where an axis is negative or the product is beyond what memory could hold.
    public static func count(of shape: [Int]) -> Int? {
        var total = 1
        for axis in shape {
            let (product, overflow) = total.multipliedReportingOverflow(by: axis)
            guard axis >= 0, !overflow, product < 1 << 40 else { return nil }
            total = product
        }
        return total
    }

    public func floats() -> [Float] {
        switch type {
        case .float32: (0..<count).map { Float(bitPattern: UInt32(truncatingIfNeeded: bits(at: $0))) }
        case .float16: (0..<count).map { Half.float(UInt16(truncatingIfNeeded: bits(at: $0))) }
        default: doubles().map(Float.init)
        }
    }

    public func doubles() -> [Double] {
        (0..<count).map { index in
            let raw = bits(at: index)
            switch type {
            case .float64: return Double(bitPattern: raw)
            case .float32: return Double(Float(bitPattern: UInt32(truncatingIfNeeded: raw)))
            case .float16: return Double(Half.float(UInt16(truncatingIfNeeded: raw)))
            case .uint8, .uint16, .uint32, .uint64, .bool: return Double(raw)
            case .int8: return Double(Int8(truncatingIfNeeded: raw))
            case .int16: return Double(Int16(truncatingIfNeeded: raw))
            case .int32: return Double(Int32(truncatingIfNeeded: raw))
            case .int64: return Double(Int64(bitPattern: raw))
            }
        }
    }

    private func bits(at index: Int) -> UInt64 {
        let size = type.byteCount
        var value: UInt64 = 0
        for byte in 0..<size { value |= UInt64(bytes[index * size + byte]) << (8 * UInt64(byte)) }
        return value
    }

    private static func encode(_ values: [Float], as type: ElementType) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count * type.byteCount)
        for value in values {
            let bits = pattern(value, type)
            for byte in 0..<type.byteCount { bytes.append(UInt8(truncatingIfNeeded: bits >> (8 * UInt64(byte)))) }
        }
        return bytes
    }

    private static func pattern(_ value: Float, _ type: ElementType) -> UInt64 {
        switch type {
        case .float32: UInt64(value.bitPattern)
        case .float64: Double(value).bitPattern
        case .float16: UInt64(Half.bits(value))
        case .uint8: UInt64(saturated(value, UInt8.self))
        case .uint16: UInt64(saturated(value, UInt16.self))
        case .uint32: UInt64(saturated(value, UInt32.self))
        case .uint64: saturated(value, UInt64.self)
        case .bool: value == 0 ? 0 : 1
        case .int8: UInt64(UInt8(bitPattern: saturated(value, Int8.self)))
        case .int16: UInt64(UInt16(bitPattern: saturated(value, Int16.self)))
        case .int32: UInt64(UInt32(bitPattern: saturated(value, Int32.self)))
        case .int64: UInt64(bitPattern: saturated(value, Int64.self))
        }
    }

    private static func saturated<Whole: FixedWidthInteger>(_ value: Float, _: Whole.Type) -> Whole {
        let rounded = Double(value).rounded(.toNearestOrEven)
        if rounded.isNaN { return 0 }
        return Whole(exactly: rounded) ?? (rounded < 0 ? Whole.min : Whole.max)
    }
}

/// IEEE 754 half precision by bits, since `Float16` does not exist on every platform that this package builds for.
enum Half {
    static func float(_ bits: UInt16) -> Float {
        let sign: Float = bits >> 15 == 0 ? 1 : -1
        let exponent = Int(bits >> 10) & 0x1F
        let fraction = Float(bits & 0x3FF)
        switch exponent {
        case 0: return sign * fraction * 0x1p-24
        case 0x1F: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * (1 + fraction / 1024) * Float(sign: .plus, exponent: exponent - 15, significand: 1)
        }
    }

    /// Rounds to the nearest, ties to even.
    static func bits(_ value: Float) -> UInt16 {
        let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
        if value.isNaN { return 0x7E00 }
        let magnitude = value.magnitude
        if magnitude >= 65520 { return sign | 0x7C00 }
        if magnitude < 0x1p-14 { return sign | UInt16((magnitude * 0x1p24).rounded(.toNearestOrEven)) }
        let exponent = Int(magnitude.exponent)
        let steps = (magnitude * Float(sign: .plus, exponent: 10 - exponent, significand: 1)).rounded(.toNearestOrEven)
        return sign | UInt16(Int(steps) + (exponent + 14) << 10)
    }
}
