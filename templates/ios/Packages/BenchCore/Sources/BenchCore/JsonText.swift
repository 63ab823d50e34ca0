// SPDX-License-Identifier: 0BSD

import Foundation

/// A JSON value that keeps the order of its keys. A `nil` field of an object is left out by ``Json/object(_:)``.
public enum Json: Sendable, Equatable {
    case text(String)
    case whole(Int64)
    case number(Double)
    case truth(Bool)
    case list([Json])
    case table([Field])

    public struct Field: Sendable, Equatable {
        public let key: String
        public let value: Json
    }

    /// An object of the fields that have a value, in their order.
    public static func object(_ fields: KeyValuePairs<String, Json?>) -> Json {
        .table(fields.compactMap { key, value in value.map { Field(key: key, value: $0) } })
    }

    /// Compact ASCII. What is not finite becomes a text; `@` is escaped, so that a frame's mark never occurs inside.
    public var asciiText: String {
        switch self {
        case .text(let value): Json.quoted(value)
        case .whole(let value): String(value)
        case .number(let value): Json.shortest(value)
        case .truth(let value): value ? "true" : "false"
        case .list(let values): "[\(values.map(\.asciiText).joined(separator: ","))]"
        case .table(let fields):
            "{\(fields.map { "\(Json.quoted($0.key)):\($0.value.asciiText)" }.joined(separator: ","))}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var made = "\""
        for unit in text.utf16 {
            switch unit {
            case 0x22: made += "\\\""
            case 0x5C: made += "\\\\"
            case 0x0A: made += "\\n"
            case 0x0D: made += "\\r"
            case 0x09: made += "\\t"
            case 0x08: made += "\\b"
            case 0x0C: made += "\\f"
            case 0x20..<0x7F where unit != 0x40: made.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
            default: made += String(format: "\\u%04x", unit)
            }
        }
        return made + "\""
    }

    /// The shortest digits that read back as the same number, with an exponent from 1e16 and below 1e-4.
    private static func shortest(_ value: Double) -> String {
        if value.isNaN { return "\"nan\"" }
        if value.isInfinite { return value < 0 ? "\"-inf\"" : "\"inf\"" }
        let text = value.description
        guard value.magnitude >= 1e16, !text.contains("e") else { return text }
        let digits = text.drop { $0 == "-" }.prefix { $0 != "." }
        var fraction = digits.dropFirst()
        while fraction.last == "0" { fraction = fraction.dropLast() }
        let mantissa = fraction.isEmpty ? String(digits.prefix(1)) : "\(digits.prefix(1)).\(fraction)"
        return "\(value < 0 ? "-" : "")\(mantissa)e+\(digits.count - 1)"
    }
}

extension Json: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    public init(stringLiteral value: String) { self = .text(value) }
    public init(integerLiteral value: Int64) { self = .whole(value) }
    public init(booleanLiteral value: Bool) { self = .truth(value) }
}

extension Json: ExpressibleByArrayLiteral {
    public init(arrayLiteral values: Json...) { self = .list(values) }
}
