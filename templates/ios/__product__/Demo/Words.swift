// SPDX-License-Identifier: 0BSD

import Foundation

/// Texts of the String Catalog with something in them.
enum Words {
    static func filled(_ key: String, _ texts: String...) -> String {
        let arguments = texts.map { $0 as NSString }
        return String(format: NSLocalizedString(key, comment: ""), locale: .current, arguments: arguments)
    }

    /// Takes the plural form that the language has for the number, where the text has several.
    static func filled(_ key: String, _ count: Int) -> String {
        String.localizedStringWithFormat(NSLocalizedString(key, comment: ""), count)
    }

    static func percent(_ share: Double) -> String {
        share.formatted(.percent.precision(.fractionLength(1)))
    }

    static func number(_ value: Double) -> String {
        value.formatted(.number.precision(.significantDigits(1...4)))
    }

    static func milliseconds(_ value: Double) -> String {
        value.formatted(.number.precision(.fractionLength(2)))
    }
}
