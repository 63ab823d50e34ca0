// The part of SwiftUI that the app uses, by signature only: enough for the compiler to check every call of the app.
@_exported import Foundation
@_exported import Observation
@_exported import UIKit

@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {}
extension View where Body == Never { public var body: Never { fatalError() } }

@resultBuilder public enum ViewBuilder {
    public static func buildBlock() -> EmptyView { EmptyView() }
    public static func buildBlock<Part: View>(_ part: Part) -> Part { part }
    @_disfavoredOverload public static func buildBlock<each Part: View>(_ part: repeat each Part) -> TupleView<(repeat each Part)> { TupleView() }
    public static func buildExpression<Part: View>(_ part: Part) -> Part { part }
    public static func buildIf<Part: View>(_ part: Part?) -> Part? { part }
    public static func buildEither<First: View, Second: View>(first: First) -> Either<First, Second> { Either() }
    public static func buildEither<First: View, Second: View>(second: Second) -> Either<First, Second> { Either() }
}

extension Optional: View where Wrapped: View { public typealias Body = Never }
public struct Either<First, Second>: View {
    nonisolated init() {}
    public typealias Body = Never
}
public struct TupleView<Parts>: View {
    nonisolated init() {}
    public typealias Body = Never
}
public struct EmptyView: View {
    nonisolated public init() {}
    public typealias Body = Never
}

@MainActor @preconcurrency public protocol Scene {}
@resultBuilder public enum SceneBuilder { public static func buildBlock<One: Scene>(_ one: One) -> One { one } }
@MainActor @preconcurrency public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}
extension App { public static func main() {} }
public struct WindowGroup<Content: View>: Scene { public init(@ViewBuilder content: () -> Content) {} }

public struct LocalizedStringKey: ExpressibleByStringLiteral, Equatable { public init(stringLiteral value: String) {} }

@propertyWrapper public struct State<Value> {
    public init(wrappedValue: Value) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set { _ = newValue }
    }
    public var projectedValue: Binding<Value> { fatalError() }
}

@propertyWrapper @dynamicMemberLookup public struct Binding<Value> {
    public init(projectedValue: Binding<Value>) {}
    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set { _ = newValue }
    }
    public var projectedValue: Binding<Value> { self }
    public subscript<Part>(dynamicMember path: WritableKeyPath<Value, Part>) -> Binding<Part> { fatalError() }
}

@propertyWrapper @dynamicMemberLookup public struct Bindable<Value: AnyObject & Observable> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Value
    public var projectedValue: Bindable<Value> { self }
    public subscript<Part>(dynamicMember path: ReferenceWritableKeyPath<Value, Part>) -> Binding<Part> { fatalError() }
}

public enum ScenePhase: Comparable, Sendable { case background, inactive, active }
public enum LayoutDirection: Hashable, Sendable { case leftToRight, rightToLeft }
@MainActor @preconcurrency public struct DismissAction { public func callAsFunction() {} }
public struct EnvironmentValues {
    public var scenePhase: ScenePhase { .active }
    public var dismiss: DismissAction { fatalError() }
    public var layoutDirection: LayoutDirection {
        get { .leftToRight }
        set {}
    }
}
@propertyWrapper public struct Environment<Value> {
    public init(_ path: KeyPath<EnvironmentValues, Value>) {}
    public var wrappedValue: Value { fatalError() }
}

public struct Alignment: Sendable {
    public static let center = Alignment()
    public static let topLeading = Alignment()
}
public struct HorizontalAlignment: Sendable {
    public static let center = HorizontalAlignment()
    public static let leading = HorizontalAlignment()
}
public enum Axis { case horizontal, vertical }
public enum TextAlignment { case leading, center, trailing }
public protocol ShapeStyle: Sendable {}
public struct Color: ShapeStyle { public static let accentColor = Color() }
public struct HierarchicalShapeStyle: ShapeStyle {}
public struct Material: ShapeStyle {}
extension ShapeStyle where Self == HierarchicalShapeStyle { public static var secondary: Self { HierarchicalShapeStyle() } }
extension ShapeStyle where Self == Material { public static var thinMaterial: Self { Material() } }
public struct Font: Sendable {
    public static let headline = Font()
    public static let footnote = Font()
    public static let caption = Font()
    public func monospacedDigit() -> Font { self }
}
public struct AccessibilityChildBehavior: Sendable {
    public static let ignore = AccessibilityChildBehavior()
    public static let combine = AccessibilityChildBehavior()
}

public struct Text: View, Sendable {
    public typealias Body = Never
    @_disfavoredOverload public init<Words: StringProtocol>(_ words: Words) {}
    public init(_ key: LocalizedStringKey) {}
    public init(verbatim: String) {}
    public func monospacedDigit() -> Text { self }
}
public struct Image: View {
    public typealias Body = Never
    public init(uiImage: UIImage) {}
    public func resizable() -> Image { self }
}
public struct Spacer: View {
    public typealias Body = Never
    public init() {}
}
public struct VStack<Content: View>: View {
    public typealias Body = Never
    public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}
public struct HStack<Content: View>: View {
    public typealias Body = Never
    public init(spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}
public struct List<Content: View>: View {
    public typealias Body = Never
    public init(@ViewBuilder content: () -> Content) {}
}
public struct NavigationStack<Content: View>: View {
    public typealias Body = Never
    public init(@ViewBuilder root: () -> Content) {}
}
public struct Section<Parent: View, Content: View, Footer: View>: View { public typealias Body = Never }
extension Section where Parent == EmptyView, Footer == EmptyView { public init(@ViewBuilder content: () -> Content) {} }
extension Section where Parent == Text, Footer == EmptyView {
    public init(_ key: LocalizedStringKey, @ViewBuilder content: () -> Content) {}
}
extension Section {
    public init(@ViewBuilder content: () -> Content, @ViewBuilder header: () -> Parent, @ViewBuilder footer: () -> Footer) {}
}
public struct ForEach<Data: RandomAccessCollection, ID: Hashable, Content: View>: View { public typealias Body = Never }
extension ForEach where Data.Element: Identifiable, ID == Data.Element.ID {
    public init(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content) {}
}
extension ForEach {
    public init(_ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content) {}
}
public struct Button<Label: View>: View {
    public typealias Body = Never
    @preconcurrency
    public init(_ key: LocalizedStringKey, action: @escaping @MainActor () -> Void) where Label == Text {}
}
public struct Picker<Choice: Hashable, Content: View>: View {
    public typealias Body = Never
    public init(_ key: LocalizedStringKey, selection: Binding<Choice>, @ViewBuilder content: () -> Content) {}
}
public struct TextField: View {
    public typealias Body = Never
    public init(_ key: LocalizedStringKey, text: Binding<String>, axis: Axis) {}
}
public struct LabeledContent: View {
    public typealias Body = Never
    public init<Words: StringProtocol>(_ key: LocalizedStringKey, value: Words) {}
}
public struct ProgressView: View {
    public typealias Body = Never
    public init() {}
    public init(_ key: LocalizedStringKey) {}
    public init<Value: BinaryFloatingPoint>(value: Value?, total: Value = 1.0) {}
}
public struct GeometryProxy { public var size: CGSize { .zero } }
public struct GeometryReader<Content: View>: View {
    public typealias Body = Never
    public init(@ViewBuilder content: @escaping (GeometryProxy) -> Content) {}
}
public struct Rectangle: View {
    public typealias Body = Never
    public init() {}
    public func stroke<Style: ShapeStyle>(_ style: Style, lineWidth: CGFloat = 1) -> some View { self }
}

@MainActor @preconcurrency public protocol UIViewControllerRepresentable: View where Body == Never {
    associatedtype Controller: UIViewController
    associatedtype Coordinator = Void
    typealias Context = RepresentableContext<Self>
    func makeUIViewController(context: Context) -> Controller
    func updateUIViewController(_ controller: Controller, context: Context)
    func makeCoordinator() -> Coordinator
}
@MainActor @preconcurrency public struct RepresentableContext<One: UIViewControllerRepresentable> {
    public let coordinator: One.Coordinator
}

extension View {
    public func padding(_ length: CGFloat? = nil) -> some View { self }
    public func multilineTextAlignment(_ alignment: TextAlignment) -> some View { self }
    public func onChange<Value: Equatable>(of value: Value, initial: Bool = false, _ action: @escaping () -> Void) -> some View { self }
    public func navigationTitle<Words: StringProtocol>(_ title: Words) -> some View { self }
    public func overlay<Top: View>(alignment: Alignment = .center, @ViewBuilder content: () -> Top) -> some View { self }
    public func task(_ action: sending @escaping @isolated(any) () async -> Void) -> some View { self }
    public func disabled(_ isDisabled: Bool) -> some View { self }
    public func foregroundStyle<Style: ShapeStyle>(_ style: Style) -> some View { self }
    public func font(_ font: Font?) -> some View { self }
    public func monospacedDigit() -> some View { self }
    public func fullScreenCover<Content: View>(isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> Content) -> some View { self }
    public func ignoresSafeArea() -> some View { self }
    public func lineLimit(_ range: ClosedRange<Int>) -> some View { self }
    public func environment<Value>(_ path: WritableKeyPath<EnvironmentValues, Value>, _ value: Value) -> some View { self }
    public func accessibilityElement(children: AccessibilityChildBehavior) -> some View { self }
    public func accessibilityLabel(_ label: Text) -> some View { self }
    public func accessibilityHidden(_ isHidden: Bool) -> some View { self }
    public func tag<Value: Hashable>(_ value: Value) -> some View { self }
    public func scaledToFit() -> some View { self }
    public func background<Style: ShapeStyle>(_ style: Style) -> some View { self }
    public func frame(width: CGFloat? = nil, height: CGFloat? = nil) -> some View { self }
    public func offset(x: CGFloat = 0, y: CGFloat = 0) -> some View { self }
}
