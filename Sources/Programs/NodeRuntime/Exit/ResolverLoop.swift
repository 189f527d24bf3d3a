import Base
import EventLoop
import HostNetwork
import Logging
import Synchronization

/// The thread of an exit's resolver: the program lives as long as it does, and no longer.
struct ResolverLoop: ~Copyable {
    /// Time between two questions that see whether it lives.
    private static let look: TimeSpan = .seconds(1)
    /// The same until it has answered first.
    private static let firstLook: TimeSpan = .milliseconds(50)
    /// Questions in a row without an answer that it is given.
    private static let silenceLimit = 5
    /// How long it may take to answer first.
    private static let firstPatience: TimeSpan = .seconds(10)
    /// The shortest and longest time before it is started again; it doubles each time.
    private static let pauses: (TimeSpan, TimeSpan) = (.milliseconds(200), .seconds(30))
    /// A program that ran for so long is started again as if it were the first time.
    private static let steadyTime: TimeSpan = .seconds(60)
    private static let endPatienceMilliseconds: Int32 = 2_000

    private static let wakeupToken: UInt64 = 0
    private static let processToken: UInt64 = 1
    private static let outputToken: UInt64 = 2
    private static let answerToken: UInt64 = 3

    let resolver: ExitResolver
    let command: [String]
    let mailbox: Mailbox<@Sendable () -> Void>
    let wakeup: Wakeup
    let shared: ResolverKeeper.SharedState
    let logger: Logger
    /// Called once: with `nil` when it answers for the first time, or with why it does not.
    let onFirst: @Sendable (String?) -> Void

    private enum Ending {
        case stopped(@Sendable () -> Void)
        case ended(String)
        case silent
    }

    /// Runs until it is told to stop, or the first start fails.
    consuming func run() {
        var pause = Self.pauses.0
        var hasServed = false
        while true {
            let begun = MonotonicClock.now()
            var lastWords = ""
            let ending: Ending
            do throws(IOError) {
                ending = try serve(&hasServed, &lastWords)
            } catch {
                ending = .ended("\(error)")
            }
            shared.value.withLock { state in
                state.isAnswering = false
                switch ending {
                case .stopped: break
                case .ended: state.endings += 1
                case .silent: state.silences += 1
                }
            }
            let why: String
            switch ending {
            case .stopped(let done): return done()
            case .ended(let words): why = words
            case .silent: why = "it does not answer"
            }
            guard hasServed else {
                return onFirst(lastWords.isEmpty ? why : "\(why): \(lastWords)")
            }
            if MonotonicClock.now() - begun > Self.steadyTime { pause = Self.pauses.0 }
            let program = resolver.program.rawValue
            logger.error(
                "\(program) is started again in \(pause.seconds) s: \(why); names are refused till then"
            )
            if let done = wait(pause) { return done() }
            pause = min(pause * 2, Self.pauses.1)
        }
    }

    /// Sleeps for `pause`; what to call where it is told to stop meanwhile.
    private func wait(_ pause: TimeSpan) -> (@Sendable () -> Void)? {
        let end = MonotonicClock.now() + pause
        var messages: [@Sendable () -> Void] = []
        guard var poller = try? Poller(),
            (try? poller.add(wakeup.descriptor, token: Self.wakeupToken)) != nil
        else { return nil }
        while true {
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            if let done = messages.first { return done }
            let now = MonotonicClock.now()
            guard now < end, (try? poller.wait(until: end, now: now)) != nil else { return nil }
        }
    }

    /// Runs the program once, and says how that ended.
    private func serve(
        _ hasServed: inout Bool,
        _ lastWords: inout String
    ) throws(IOError) -> Ending {
        guard let address = resolver.addresses.first else { return .ended("it has no address") }
        var program = try ConfinedProgram(command, input: resolver.configuration)
        if !program.isWithoutFiles {
            logger.notice("this kernel keeps no files from \(resolver.program.rawValue)")
        }
        var socket = try ResolverSocket(SocketAddress(ip: address, port: ExitResolver.port))
        var poller = try Poller()
        try poller.add(wakeup.descriptor, token: Self.wakeupToken)
        try poller.add(program.processDescriptor, token: Self.processToken)
        try poller.add(program.outputDescriptor, token: Self.outputToken)
        try poller.add(socket.descriptor, token: Self.answerToken)
        let begun = MonotonicClock.now()
        var hasAnswered = false
        var unanswered = 0
        var nextLook = begun
        var messages: [@Sendable () -> Void] = []
        while true {
            let now = MonotonicClock.now()
            if now >= nextLook {
                let isPatient =
                    hasAnswered
                    ? unanswered < Self.silenceLimit : now - begun < Self.firstPatience
                guard isPatient else {
                    program.end(withinMilliseconds: Self.endPatienceMilliseconds)
                    return .silent
                }
                socket.ask()
                unanswered += 1
                nextLook = now + (hasAnswered ? Self.look : Self.firstLook)
            }
            let eventCount = try poller.wait(until: nextLook, now: now)
            for index in 0..<eventCount {
                switch poller.event(at: index).token {
                case Self.outputToken:
                    guard let words = program.readOutput() else {
                        try poller.remove(program.outputDescriptor)
                        continue
                    }
                    note(words, &lastWords)
                case Self.answerToken:
                    guard socket.takeAnswer() else { continue }
                    unanswered = 0
                    shared.value.withLock { $0.isAnswering = true }
                    if hasServed, !hasAnswered { logger.notice("names are answered again") }
                    if !hasServed { onFirst(nil) }
                    (hasServed, hasAnswered) = (true, true)
                case Self.processToken:
                    guard let ending = program.ending() else { continue }
                    if let words = program.readOutput() { note(words, &lastWords) }
                    return .ended(ending)
                default:
                    _ = wakeup.drain()
                    mailbox.drain(into: &messages)
                    guard let done = messages.first else { continue }
                    program.end(withinMilliseconds: Self.endPatienceMilliseconds)
                    return .stopped(done)
                }
            }
        }
    }

    /// Keeps the last line of what the program says: where it does not start, that is why.
    private func note(_ words: String, _ lastWords: inout String) {
        guard let line = words.split(separator: "\n").last else { return }
        lastWords = String(line)
        // Programs name what was asked for: not for a log that is kept.
        logger.debug("\(resolver.program.rawValue): \(line)")
    }
}
