// What Apple's Foundation and Objective-C runtime have and Linux's lack; compiled into the app's own module.
import Foundation

func autoreleasepool<Made>(invoking body: () throws -> Made) rethrows -> Made { try body() }

extension String {
    init(localized key: StaticString) { self = "\(key)" }
}
