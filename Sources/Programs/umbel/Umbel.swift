@main struct Umbel { static func main() {} }
