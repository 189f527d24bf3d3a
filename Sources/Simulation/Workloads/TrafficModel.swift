public import CryptoPrimitives

/// A kind of traffic.
public enum TrafficModel: String, CaseIterable, Codable, Sendable {
    /// Pages of today: ``WebModel/today``.
    case web
    /// Pages as mobile networks are planned with: ``WebModel/planning``.
    case lightWeb = "light-web"
    /// A film in segments: ``VideoModel``.
    case video
    /// Messages: ``ChatModel``.
    case chat

    /// What one person does in `seconds`, in order of time.
    ///
    /// The first transfer falls where the model stands at a random moment: no crowd begins at once.
    public func transfers(seconds: Double, random: inout RandomGenerator) -> [Transfer] {
        switch self {
        case .web: WebModel.today.transfers(seconds: seconds, random: &random)
        case .lightWeb: WebModel.planning.transfers(seconds: seconds, random: &random)
        case .video: VideoModel().transfers(seconds: seconds, random: &random)
        case .chat: ChatModel().transfers(seconds: seconds, random: &random)
        }
    }
}
